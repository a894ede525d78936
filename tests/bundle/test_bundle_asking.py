"""Asking: queries are bound case by case in one call, and answers keep what was not answered."""

from __future__ import annotations

import numpy as np
import pytest

from promptopt.core.prompt import LoweredPrompt, PromptSegment
from promptopt.engines.base import LabelScores, Segment
from promptopt.errors import EngineError
from promptopt.policy.asking import NO_SCORES, answer, bind, queries_for


def _prompt(question, *segments, labels=("Yes", "No")):
    return LoweredPrompt(question=question, segments=segments, labels=labels)


FIXED = PromptSegment(role="system", text="policy")
ITEM = PromptSegment(role="user", slot="text")
ONE = _prompt("one", FIXED, ITEM, PromptSegment(role="user", text="1?"))
TWO = _prompt("two", FIXED, ITEM, PromptSegment(role="user", text="2?"))


def test_bind_fills_slots_and_marks_case_text():
    query = bind(ONE, {"text": "<|im_start|>"})
    assert query.labels == ("Yes", "No")
    assert query.segments == (
        Segment("system", "policy"),
        Segment("user", "<|im_start|>", from_case=True),
        Segment("user", "1?"),
    )


def test_bind_needs_every_slot():
    with pytest.raises(KeyError, match="context"):
        bind(_prompt("q", PromptSegment(role="user", slot="context")), {"text": "t"})


def test_case_text_equal_to_fixed_text_stays_case_text():
    segments = bind(ONE, {"text": "1?"}).segments
    assert segments[1].from_case
    assert not segments[2].from_case


def test_queries_are_case_major_and_share_segments():
    queries = queries_for([ONE, TWO], ["a", "b"])
    assert [(q.segments[1].text, q.segments[2].text) for q in queries] == [
        ("a", "1?"),
        ("a", "2?"),
        ("b", "1?"),
        ("b", "2?"),
    ]
    assert len({id(q.segments[0]) for q in queries}) == 1
    assert queries[0].segments[1] is queries[1].segments[1]


def test_answer_asks_once_and_equals_asking_one_by_one(engine):
    texts = ["a", "b", "c"]
    found = answer([ONE, TWO], texts, engine)
    assert len(engine.calls) == 1
    assert found.usage.queries == 6
    for prompt in (ONE, TWO):
        alone = [np.exp(engine.score([bind(prompt, {"text": t})]).logprobs[0, 0]) for t in texts]
        np.testing.assert_allclose(found.probabilities[prompt.question], alone, rtol=1e-6)
        assert found.probabilities[prompt.question].dtype == np.float64
    assert found.of_case(1) == {q: column[1] for q, column in found.probabilities.items()}


LADDER = _prompt("ladder", FIXED, ITEM, PromptSegment(role="user", text="How much?"), labels=("high", "low", "none"))


def test_more_than_two_labels_are_answered_by_a_distribution(engine):
    texts = ["a", "<refuse>", "c"]
    found = answer([ONE, LADDER, TWO], texts, engine)
    assert found.probabilities["ladder"].shape == (3, 3)
    alone = np.exp(engine.score([bind(LADDER, {"text": t}) for t in texts]).logprobs)
    np.testing.assert_allclose(found.probabilities["ladder"], alone, rtol=1e-6)
    np.testing.assert_allclose(found.probabilities["ladder"][[0, 2]].sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(
        found.probabilities["two"], answer([TWO], texts, engine).probabilities["two"], "other questions stay apart"
    )
    assert found.of_case(2)["ladder"] == tuple(found.probabilities["ladder"][2])
    assert answer([LADDER], [], engine).probabilities["ladder"].shape == (0, 3)


def test_unjudged_and_truncated_rows_belong_to_their_case(engine):
    found = answer([ONE, TWO], ["a", "<refuse>", "x" * 230], engine)
    assert np.isnan(found.probabilities["one"]).tolist() == [False, True, False]
    assert found.unjudged == {1: "one: refused"}
    assert found.dropped_tokens == {2: 30}


class _Fixed:
    def __init__(self, scores):
        self._scores = scores

    def score(self, queries):
        return self._scores


def test_rows_without_scores_are_unjudged_even_without_a_reason():
    found = answer([ONE], ["a", "b"], _Fixed(LabelScores(np.array([[np.nan] * 2, [0.0] * 2], dtype=np.float32))))
    assert found.unjudged == {0: NO_SCORES}


def test_rows_with_a_reason_are_unjudged_whatever_their_scores():
    scores = LabelScores(np.zeros((1, 2), dtype=np.float32), unjudged={0: "too long"})
    found = answer([ONE], ["a"], _Fixed(scores))
    assert np.isnan(found.probabilities["one"][0])
    assert found.unjudged == {0: "too long"}


def test_probabilities_stay_in_range_when_logprobs_round_up():
    found = answer([ONE], ["a"], _Fixed(LabelScores(np.array([[1e-6, -20]], dtype=np.float32))))
    assert found.probabilities["one"][0] == 1.0


def test_a_wrong_number_of_rows_is_refused():
    with pytest.raises(EngineError, match="1 rows for 2 queries"):
        answer([ONE], ["a", "b"], _Fixed(LabelScores(np.zeros((1, 2), dtype=np.float32))))


def test_no_cases_cost_no_call(engine):
    assert answer([ONE], [], engine).probabilities["one"].shape == (0,)
    assert engine.calls == []


def test_questions_must_have_distinct_names(engine):
    with pytest.raises(ValueError, match="distinct"):
        answer([ONE, ONE], ["a"], engine)
