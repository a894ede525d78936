from __future__ import annotations

import time

import numpy as np

from promptopt.engines.fake import FakeEngine
from promptopt.testing.engine import check_unjudged, query

TEXTS = [f"text {i} {'with zeppelin' if i % 3 == 0 else 'without'}" for i in range(90)]
POSITIVE = np.array([i % 3 == 0 for i in range(90)])


def _separation(engine: FakeEngine, policy: str) -> float:
    """Share of (positive, negative) pairs that the scores put in order."""
    scores = engine.score([query(text, policy=policy) for text in TEXTS]).logprobs[:, 0]
    return float((scores[POSITIVE][:, None] > scores[~POSITIVE][None, :]).mean())


def test_scores_are_the_same_everywhere_and_differ_by_seed_prompt_and_text() -> None:
    queries = [query(text) for text in TEXTS]
    a, b, c = (FakeEngine(seed=s).score(queries).logprobs for s in (0, 0, 1))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)
    assert len(np.unique(a[:, 0])) == len(TEXTS)


def test_some_prompts_see_the_signal_and_others_do_not() -> None:
    engine = FakeEngine(signal={"zeppelin": 6.0})
    separations = [_separation(engine, f"policy {i}") for i in range(20)]
    assert max(separations) > 0.9
    assert min(separations) < 0.7


def test_without_a_signal_there_is_nothing_to_find() -> None:
    engine = FakeEngine(signal={})
    assert abs(np.mean([_separation(engine, f"policy {i}") for i in range(20)]) - 0.5) < 0.1


def test_calls_and_queries_are_counted() -> None:
    engine = FakeEngine()
    engine.score([query("a"), query("b")])
    engine.score([])
    assert (engine.calls, engine.queries_seen) == (2, 2)


def test_chosen_words_give_no_verdict() -> None:
    engine = FakeEngine(unjudged_words={"oops"})
    scores = engine.score([query("fine"), query("Oops, no")])
    check_unjudged(scores, {1})
    assert engine.count_tokens([query("oops")]).marginal == 0


def test_delay_is_per_query() -> None:
    began = time.perf_counter()
    FakeEngine(delay=0.01).score([query(str(i)) for i in range(5)])
    assert time.perf_counter() - began >= 0.05


def test_another_signal_is_another_judge() -> None:
    assert FakeEngine().describe().fingerprint != FakeEngine(signal={}).describe().fingerprint
    assert FakeEngine().describe().fingerprint != FakeEngine(seed=1).describe().fingerprint
