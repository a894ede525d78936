from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from promptopt.engines.hardware import Stopwatch, choose_batch_tokens

CONFIG = SimpleNamespace(hidden_size=4096, intermediate_size=14336, num_attention_heads=32)
CUDA = torch.device("cuda")


def test_what_the_user_asks_for_is_what_a_batch_holds() -> None:
    assert choose_batch_tokens(300, CONFIG, torch.device("cpu"), torch.float32) == 300


@pytest.mark.parametrize(("free_gib", "expected"), [(0.1, 1024), (1000.0, 32768)])
def test_batches_on_a_gpu_are_bounded(free_gib: float, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free_gib * 2**30), 2**40))
    assert choose_batch_tokens(0, CONFIG, CUDA, torch.bfloat16) == expected


def test_batches_on_a_gpu_grow_with_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    for gib in (2, 4):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, gib=gib: (gib * 2**30, 2**40))
        sizes.append(choose_batch_tokens(0, CONFIG, CUDA, torch.bfloat16))
    assert sizes[1] == pytest.approx(2 * sizes[0], rel=0.01)


def test_the_stopwatch_adds_up() -> None:
    clock = Stopwatch(torch.device("cpu"))
    assert clock.seconds == 0
    with clock:
        sum(range(1000))
    first = clock.seconds
    with clock:
        sum(range(1000))
    assert clock.seconds > first > 0
