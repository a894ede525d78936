"""FlashAttention's kernels: shapes on the meta device, and figures where there is a GPU."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from promptopt.engines import attention, flash
from promptopt.engines.plans import PrefixSpan, tree_plan

HEADS, KV_HEADS, SIZE = 8, 2, 64
LENGTHS = (1, 40, 17, 103, 9)
CPU = torch.device("cpu")


@pytest.fixture
def capability(monkeypatch):
    """Lets torch tell of a card of some compute capability."""

    def tell(version: tuple[int, int]) -> None:
        flash._is_recent.cache_clear()
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: version)

    yield tell
    flash._is_recent.cache_clear()


def make_rows(lengths: tuple[int, ...] = LENGTHS) -> list[list[int]]:
    return [list(range(-1, length - 1)) for length in lengths]


def make_spans(device: torch.device | str, dtype: torch.dtype = torch.float32) -> list[PrefixSpan]:
    """One over everything, and two that follow one another."""
    generator = torch.Generator().manual_seed(1)
    tokens = sum(LENGTHS)
    spans = []
    for start, stop, stretch in ((0, tokens, 300), (0, 41, 20), (41, tokens, 1)):
        layer = tuple(torch.randn(KV_HEADS, stretch, SIZE, generator=generator).to(device, dtype) for _ in range(2))
        spans.append(PrefixSpan(start, stop, [layer]))  # type: ignore[list-item]
    return spans


def attend(parts: list[torch.Tensor], plan) -> torch.Tensor:
    token = attention.ACTIVE_PLAN.set(plan)
    try:
        return attention.tree_attention(SimpleNamespace(layer_idx=0), *parts, None, scaling=0.2)[0]  # type: ignore[arg-type]
    finally:
        attention.ACTIVE_PLAN.reset(token)


def make_parts(device: torch.device | str, dtype: torch.dtype) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    # As projections write them: tokens first, and then seen with heads first.
    parts = [torch.randn(1, sum(LENGTHS), heads, SIZE, generator=generator) for heads in (HEADS, KV_HEADS, KV_HEADS)]
    return [part.to(device, dtype).transpose(1, 2) for part in parts]


def test_rows_that_do_not_branch_are_chains():
    plan = tree_plan(make_rows(), [], CPU, chains=True)
    assert plan.chains is not None
    assert plan.chains.ends.tolist() == [0, 1, 41, 58, 161, 170]
    assert plan.chains.ends.dtype == torch.int32
    assert plan.chains.longest == 103
    assert plan.buckets == []


@pytest.mark.parametrize("rows", [[[-1, 0, 0]], [*make_rows(), [-1, -1]]])
def test_a_row_that_branches_makes_no_chain(rows):
    plan = tree_plan(rows, [], CPU, chains=True)
    assert plan.chains is None
    assert sum(len(bucket.packed) for bucket in plan.buckets) == sum(map(len, rows))


def test_nobody_is_planned_as_a_chain_unasked():
    assert tree_plan(make_rows(), [], CPU).chains is None


@pytest.mark.parametrize(
    ("device", "dtype", "size", "served"),
    [
        ("cuda", torch.bfloat16, 128, True),
        ("cuda", torch.float16, 64, True),
        ("cuda", torch.float32, 128, False),
        ("cuda", torch.bfloat16, 100, False),
        ("cuda", torch.bfloat16, 512, False),
        ("cpu", torch.bfloat16, 128, False),
    ],
)
def test_the_kernels_serve_half_precision_on_cuda(device, dtype, size, served, capability):
    capability((8, 0))
    assert flash.serves(torch.device(device), dtype, size) is served


def test_cards_older_than_ampere_are_not_served(capability):
    capability((7, 5))
    assert not flash.serves(torch.device("cuda"), torch.float16, 128)


def test_the_kernels_take_what_they_are_given():
    """On the meta device, which checks arguments and tells shapes."""
    plan = tree_plan(make_rows(), make_spans("meta", torch.bfloat16), torch.device("meta"), chains=True)
    out = attend(make_parts("meta", torch.bfloat16), plan)
    assert out.shape == (1, sum(LENGTHS), HEADS, SIZE)
    assert out.is_contiguous()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("branching", [False, True])
def test_a_gpu_computes_what_the_processor_computes(branching):
    rows, cuda = make_rows(), torch.device("cuda")
    if branching:
        rows[3][50] = 20
    expected = attend(make_parts("cpu", torch.float32), tree_plan(rows, make_spans("cpu"), CPU))
    plan = tree_plan(rows, make_spans(cuda, torch.bfloat16), cuda, chains=True)
    assert (plan.chains is None) is branching
    found = attend(make_parts(cuda, torch.bfloat16), plan).float().cpu()
    assert ((found - expected).norm() / expected.norm()).item() < 0.01
