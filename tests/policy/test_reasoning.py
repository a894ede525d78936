"""Rationales are written first, all at once; then labels are scored, with each rationale in its place."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from promptopt.core.prompt import LoweredPrompt, PromptSegment, RationaleRequest
from promptopt.core.rationale import RationaleSettings
from promptopt.engines.base import Generation, LabelScores
from promptopt.engines.fake import FakeEngine
from promptopt.errors import EngineError
from promptopt.policy.asking import answer, bind, queries_for
from promptopt.policy.asking_together import Asked, answer_together
from promptopt.policy.reasoning import check_can_write, count_queries, score_queries

ITEM = PromptSegment(role="user", slot="text")
PLAIN = LoweredPrompt(
    question="plain", segments=(ITEM, PromptSegment(role="user", text="?")), labels=("high", "low", "none")
)


def _reasoned(**settings):
    request = RationaleRequest(
        segments=(ITEM, PromptSegment(role="user", text="Why?")), **{"max_tokens": 3, **settings}
    )
    gap = PromptSegment(role="assistant", slot="rationale")
    ask = PromptSegment(role="user", text="Bad?")
    return LoweredPrompt(
        question="why", segments=(*request.segments, gap, ask), labels=("yes", "no"), rationale=request
    )


TWICE = _reasoned(samples=2)


class _Watched(FakeEngine):
    """Keeps what it was asked, in order; writes nothing about texts that begin with ``mute``."""

    def __init__(self):
        super().__init__(unjudged_words=["never"])
        self.asked = []

    def generate(self, requests):
        self.asked.append(("generate", list(requests)))
        return [
            Generation("", 0, "failed", "too long") if r.segments[0].text.startswith("mute") else w
            for r, w in zip(requests, super().generate(requests), strict=True)
        ]

    def score(self, queries):
        self.asked.append(("score", list(queries)))
        return super().score(queries)


@pytest.fixture
def engine():
    return _Watched()


def test_all_rationales_come_before_all_labels(engine):
    answers = answer([PLAIN, TWICE], ["one text", "another"], engine)
    assert [name for name, _ in engine.asked] == ["generate", "score"]
    (_, requests), (_, queries) = engine.asked
    assert (len(requests), len(queries)) == (2 * 2, 2 * 3)
    written = [g.text for g in FakeEngine().generate(requests)]
    assert [q.segments[2].text for q in queries if len(q.labels) == 2] == written
    assert answers.rationales == {0: tuple(written[:2]), 1: tuple(written[2:])}
    assert answers.probabilities["plain"].shape == (2, 3)
    yes = [np.exp(engine.score([q]).logprobs[0, 0].astype(float)) for q in queries if len(q.labels) == 2]
    np.testing.assert_allclose(answers.probabilities["why"], np.reshape(yes, (2, 2)).mean(axis=1), rtol=1e-6)


def test_questions_without_rationales_are_asked_as_ever(engine):
    answers = answer([PLAIN], ["one text"], engine)
    assert [name for name, _ in engine.asked] == ["score"]
    assert answers.rationales == {}


def test_what_is_not_answered_keeps_its_row(engine):
    texts = ["fine", "mute", "never", "also fine"]
    answers = answer([TWICE, PLAIN], texts, engine)
    assert np.isnan(answers.probabilities["why"]).tolist() == [False, True, True, False]
    assert np.isnan(answers.probabilities["plain"]).any(axis=1).tolist() == [False, False, True, False]
    assert answers.unjudged == {1: "why: no rationale: too long", 2: "why: the text holds the word 'never'"}
    for row in (0, 3):
        assert answers.of_case(row) == answer([TWICE, PLAIN], [texts[row]], engine).of_case(0), "whatever else is asked"
    assert answer([TWICE], ["mute"], engine).unjudged == {0: "no rationale: too long"}


def test_several_procedures_share_both_calls(engine):
    found, usage = answer_together([Asked([TWICE], ["a"]), Asked([PLAIN], ["a"]), Asked([TWICE], ["b", "c"])], engine)
    assert [name for name, _ in engine.asked] == ["generate", "score"]
    assert usage.queries == 2 + 1 + 4
    for answers, prompts, texts in zip(found, ([TWICE], [PLAIN], [TWICE]), (["a"], ["a"], ["b", "c"]), strict=True):
        alone = answer(prompts, texts, engine)
        np.testing.assert_array_equal(
            [list(c) for c in answers.probabilities.values()], [list(c) for c in alone.probabilities.values()]
        )
        assert answers.rationales == alone.rationales


def test_writing_is_paid_for(engine):
    queries = queries_for([TWICE], ["some text"])
    usage = score_queries(queries, engine).scores.usage
    plain = engine.score([q.answered_after("") for q in queries]).usage
    assert usage.queries == 2
    assert usage.tokens_computed > plain.tokens_computed + 2 * 3
    assert count_queries(queries, engine).marginal >= 2 * 2 * 3
    assert count_queries(queries_for([PLAIN], ["some text"]), engine) == engine.count_tokens(
        queries_for([PLAIN], ["some text"])
    )


def test_a_seed_depends_on_sample_and_text_alone():
    seeds = {bind(TWICE, {"text": text}, sample).generation().seed for text in "abc" for sample in range(2)}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**28 for seed in seeds)
    assert bind(_reasoned(samples=5), {"text": "a"}, 1).generation() == bind(TWICE, {"text": "a"}, 1).generation()
    assert (
        bind(_reasoned(samples=2, seed=1), {"text": "a"}, 1).generation() != bind(TWICE, {"text": "a"}, 1).generation()
    )


def test_a_judgement_is_named_by_all_that_its_rationale_depends_on():
    several = _reasoned(samples=4)
    assert several.judgement_digests[:2] == TWICE.judgement_digests
    assert several.digest != TWICE.digest
    assert len(set(several.judgement_digests)) == 4
    others = [_reasoned(**change) for change in ({"seed": 1}, {"temperature": 0.5}, {"max_tokens": 4})]
    asked = (*TWICE.rationale.segments[:-1], PromptSegment(role="user", text="Why, though?"))
    others.append(TWICE.model_copy(update={"rationale": TWICE.rationale.model_copy(update={"segments": asked})}))
    names = {name for prompt in (TWICE, *others) for name in prompt.judgement_digests[:1]}
    assert len(names) == 1 + len(others)
    assert PLAIN.judgement_digests == (PLAIN.digest,)
    assert "rationale" not in PLAIN.model_dump()
    assert LoweredPrompt.model_validate_json(TWICE.model_dump_json()) == TWICE


@pytest.mark.parametrize(
    "settings", [{"samples": 0}, {"samples": 2, "temperature": 0}, {"temperature": -1}, {"max_tokens": 0}]
)
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(ValidationError):
        RationaleSettings(**settings)


def test_a_rationale_has_one_place_in_a_prompt_that_asks_for_it():
    gap = PromptSegment(role="assistant", slot="rationale")
    for change in ({"rationale": None}, {"segments": (ITEM,)}, {"segments": (ITEM, gap, ITEM, gap)}):
        with pytest.raises(ValidationError, match="places in the prompt"):
            LoweredPrompt.model_validate({**TWICE.model_dump(), **change})
    asks = {**TWICE.rationale.model_dump(), "segments": (ITEM, gap)}
    with pytest.raises(ValidationError, match="cannot quote it"):
        LoweredPrompt.model_validate({**TWICE.model_dump(), "rationale": asks})


class _Unable(FakeEngine):
    def __init__(self, how):
        super().__init__()
        self._how = how

    def generate(self, requests):
        if self._how == "raises":
            raise NotImplementedError
        if self._how == "fails":
            return [Generation("", 0, "failed", "no such endpoint")] * len(requests)
        return []


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("raises", "cannot write the rationales it is asked for; choose a judge that writes texts"),
        ("fails", "it is asked for (no such endpoint); choose a judge"),
        ("forgets", "the judge wrote 0 texts for 1 requests"),
    ],
)
def test_a_judge_that_cannot_write_says_so_at_once(how, says):
    with pytest.raises(EngineError) as caught:
        check_can_write(_Unable(how))
    assert says in str(caught.value)
    check_can_write(FakeEngine())


class _Short(FakeEngine):
    def score(self, queries):
        return LabelScores(super().score(queries).logprobs[1:])


def test_a_lost_row_is_an_engine_bug():
    with pytest.raises(EngineError, match="1 rows for 2 queries"):
        score_queries(queries_for([TWICE], ["a"]), _Short())
