from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from promptopt.engines.base import GenerationRequest, Segment
from promptopt.engines.loading import load_model
from promptopt.engines.local import LocalEngine, LocalEngineSettings
from promptopt.testing.engine import query

POLICIES = ("Judge.", " ".join(f"Rule {i}: nobody may be threatened in the way number {i}." for i in range(12)))


def _requests(max_tokens: int = 8, **changes: Any) -> list[GenerationRequest]:
    texts = ("short", "a somewhat longer text about the weather and the road", "")
    return [GenerationRequest(query(t, policy=p).segments, max_tokens, **changes) for p in POLICIES for t in texts]


def test_cached_decoding_writes_what_plain_decoding_writes(make_engine: Callable[..., LocalEngine]) -> None:
    requests = _requests(12)
    cached = make_engine().generate(requests)
    plain = make_engine(packed=False).generate(requests)
    assert [g.text for g in cached] == [g.text for g in plain]
    assert len({g.text for g in cached}) > 1, "a model that writes the same about everything would prove nothing"


def test_greedy_texts_are_those_of_transformers(llama_folder: Path, make_engine: Callable[..., LocalEngine]) -> None:
    engine = make_engine()
    loaded = load_model(str(llama_folder), revision="", device=torch.device("cpu"), dtype=torch.float32)
    for request in _requests(10)[:2]:
        ids = [token for stretch in engine._tokens.stretches(request.segments) for token in stretch.ids]
        with torch.inference_mode():
            out = loaded.model.generate(
                torch.tensor([ids]),
                attention_mask=torch.ones(1, len(ids), dtype=torch.long),
                max_new_tokens=10,
                do_sample=False,
                eos_token_id=2,
                pad_token_id=0,
            )[0, len(ids) :]
        expected = loaded.tokenizer.decode(out, skip_special_tokens=True)
        assert engine.generate([request])[0].text == expected


def test_small_batches_write_the_same(make_engine: Callable[..., LocalEngine]) -> None:
    requests = _requests(temperature=0.8, seed=5)
    whole = make_engine(batch_tokens=4096).generate(requests)
    assert make_engine(batch_tokens=16).generate(requests) == whole


def test_a_request_that_cannot_be_served_fails_alone(make_engine: Callable[..., LocalEngine]) -> None:
    too_long = GenerationRequest((Segment("user", "policy " * 2000),), 8)
    found = make_engine().generate([*_requests()[:1], too_long, GenerationRequest(query("a \ud800").segments, 4)])
    assert [g.finish_reason == "failed" for g in found] == [False, True, True]
    assert "1024 tokens" in found[1].failure
    assert "Unicode" in found[2].failure


def test_weights_that_are_not_numbers_write_nothing(llama_folder: Path) -> None:
    loaded = load_model(str(llama_folder), revision="", device=torch.device("cpu"), dtype=torch.float32)
    with torch.inference_mode():
        loaded.model.get_output_embeddings().weight[:] = float("nan")
    written = LocalEngine(LocalEngineSettings("x", device="cpu"), loaded).generate(_requests()[:1])
    assert written[0].text == ""
    assert "not finite" in written[0].failure


def test_running_out_of_memory_halves_the_batch(
    make_engine: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(batch_tokens=4096)
    requests = _requests()
    expected = engine.generate(requests)
    real = engine._forward.run  # type: ignore[attr-defined]

    def run(tokens: Any, positions: Any, plan: Any) -> torch.Tensor:
        if plan.rows is not None and len(tokens) > 2:
            raise torch.OutOfMemoryError("no memory")
        return real(tokens, positions, plan)  # type: ignore[no-any-return]

    monkeypatch.setattr(engine._forward, "run", run)
    assert engine.generate(requests) == expected
