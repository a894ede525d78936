"""Through the store nothing is judged twice, and what is not judged says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from promptopt.core.case import Case
from promptopt.core.content import PartLimit
from promptopt.core.prompt import ITEM_SLOT, LoweredPrompt, PromptSegment, RationaleRequest
from promptopt.core.reading import Reading
from promptopt.engines.fake import FakeEngine
from promptopt.policy.asking import NO_SCORES, answer, bind
from promptopt.policy.procedure import Procedure
from promptopt.scores.store import ScoreStore, Spent
from promptopt.search import judging
from promptopt.search.evaluation import Evaluator
from promptopt.search.judging import StoredJudge
from promptopt.search.objective import ObjectiveConfig


@pytest.fixture
def store(tmp_path):
    opened = ScoreStore(f"sqlite:///{tmp_path / 'scores.db'}")
    yield opened
    opened.close()


def _prompt(question, words=("yes", "no")):
    return LoweredPrompt(
        question=question,
        segments=(PromptSegment(role="user", slot=ITEM_SLOT), PromptSegment(role="user", text=f" {question}?")),
        labels=words,
    )


PROMPTS = (_prompt("V1"), _prompt("V2"))


def _cases(*texts):
    return [Case(id=f"c{i}", text=text) for i, text in enumerate(texts)]


def _direct(prompt, case, engine):
    return float(np.exp(engine.score([bind(prompt, {ITEM_SLOT: case.text})]).logprobs[0, 0]))


def test_answers_are_the_engines(store):
    cases = _cases("one", "you two", "three")
    answers = StoredJudge(FakeEngine(), store, "s").answers(PROMPTS, cases)
    for prompt in PROMPTS:
        expected = [_direct(prompt, case, FakeEngine()) for case in cases]
        np.testing.assert_allclose(answers.probabilities[prompt.question], expected, rtol=1e-6)
    assert answers.unjudged == {}
    assert answers.truncated == frozenset()


def test_nothing_is_judged_twice(store):
    engine = FakeEngine()
    judge = StoredJudge(engine, store, "s")
    first = judge.answers(PROMPTS, _cases("one", "two"))
    judge.answers(PROMPTS[:1], _cases("two", "three"))
    again = judge.answers(PROMPTS, _cases("one", "two"))
    assert engine.queries_seen == 2 * 2 + 1
    np.testing.assert_array_equal(again.probabilities["V2"], first.probabilities["V2"])
    restarted = FakeEngine()
    later = StoredJudge(restarted, store, "another study").answers(PROMPTS, _cases("one", "two"))
    assert restarted.calls == 0, "another process finds what this one has paid for"
    np.testing.assert_array_equal(later.probabilities["V1"], first.probabilities["V1"])


def test_another_judge_is_asked_anew(store):
    StoredJudge(FakeEngine(), store, "s").answers(PROMPTS, _cases("one"))
    other = FakeEngine(seed=1)
    StoredJudge(other, store, "s").answers(PROMPTS, _cases("one"))
    assert other.queries_seen == 2


def test_cases_with_one_text_and_questions_with_one_prompt_share_a_score(store):
    engine = FakeEngine()
    twin = PROMPTS[0].model_copy(update={"question": "twin"})
    answers = StoredJudge(engine, store, "s").answers([*PROMPTS, twin], _cases("same", "other", "same"))
    assert engine.queries_seen == 2 * 2
    for column in answers.probabilities.values():
        assert column[0] == column[2] != column[1]
    np.testing.assert_array_equal(answers.probabilities["V1"], answers.probabilities["twin"])


def test_what_is_unjudged_says_why_and_is_not_asked_again(store):
    engine = FakeEngine(unjudged_words=["bad"])
    judge = StoredJudge(engine, store, "s")
    answers = judge.answers(PROMPTS, _cases("good", "bad one", "fine"))
    assert answers.unjudged == {1: "the text holds the word 'bad'"}
    for column in answers.probabilities.values():
        assert np.isnan(column).tolist() == [False, True, False]
    assert len(list(store.dump())) == 4, "no score is stored where there is none"
    asked = engine.queries_seen
    assert judge.answers(PROMPTS, _cases("good", "bad one", "fine")).unjudged == answers.unjudged
    assert engine.queries_seen == asked
    StoredJudge(engine, store, "s").answers(PROMPTS, _cases("bad one"))
    assert engine.queries_seen == asked + 2, "a later process tries once more"


class _Odd(FakeEngine):
    """Cuts every text by three tokens, and gives NaN without a reason to one of them."""

    def score(self, queries):
        scores = super().score(queries)
        logprobs = scores.logprobs.copy()
        logprobs[[i for i, q in enumerate(queries) if q.segments[0].text == "odd"]] = np.nan
        return replace(scores, logprobs=logprobs, dropped_tokens={0: 3})


def test_nan_without_a_reason_is_no_score_and_cuts_are_remembered(store):
    cases = _cases("even", "odd")
    for _ in range(2):
        answers = StoredJudge(_Odd(), store, "s").answers(PROMPTS[:1], cases)
        assert answers.unjudged == {1: NO_SCORES}
        assert answers.truncated == {0}


def test_prompts_with_different_numbers_of_labels_are_asked_together(store):
    prompts = (_prompt("V1"), _prompt("V2", ("low", "middle", "high")))
    judge = StoredJudge(FakeEngine(), store, "s")
    first = judge.answers(prompts, _cases("one", "two"))
    again = judge.answers(prompts, _cases("one", "two"))
    for prompt in prompts:
        stored = store.read(judge.fingerprint, prompt.digest, [case.digest for case in _cases("one", "two")])
        assert {len(score.logprobs) for score in stored.values()} == {len(prompt.labels)}
        np.testing.assert_array_equal(again.probabilities[prompt.question], first.probabilities[prompt.question])


def test_large_batches_are_paid_for_in_parts(store, monkeypatch):
    monkeypatch.setattr(judging, "QUERIES_PER_CALL", 6)
    paid = []
    engine = FakeEngine()
    judge = StoredJudge(engine, store, "s", paid.append)
    cases = _cases(*(f"text {i}" for i in range(10)))
    judge.answers(PROMPTS, cases)
    assert [cost.judgements for cost in paid] == [6, 6, 6, 2]
    assert judge.spent.judgements == 20
    assert judge.spent == sum_of(paid)
    judge.answers(PROMPTS, cases)
    assert engine.calls == 4


def sum_of(costs):
    """The costs added up."""
    return Spent(*(sum(getattr(cost, name) for cost in costs) for name in Spent.__dataclass_fields__))


class _Breaking(FakeEngine):
    """Serves one call and fails the next."""

    def score(self, queries):
        if self.calls == 1:
            raise RuntimeError("out of order")
        return super().score(queries)


def test_calls_before_a_failure_are_kept(store, monkeypatch):
    monkeypatch.setattr(judging, "QUERIES_PER_CALL", 4)
    with pytest.raises(RuntimeError, match="out of order"):
        StoredJudge(_Breaking(), store, "s").answers(PROMPTS, _cases("a", "b", "c", "d"))
    engine = FakeEngine()
    StoredJudge(engine, store, "s").answers(PROMPTS, _cases("a", "b", "c", "d"))
    assert engine.queries_seen == 4
    assert store.spent("s").judgements == 8


def test_an_evaluation_measures_the_whole_vector(store, policy, golden):
    cases = golden.cases[:20]
    engine = FakeEngine(unjudged_words=[cases[0].text.split()[-1]])
    procedure = Procedure.of(policy, "checklist")
    prompts = [_prompt(clause.id) for clause in policy.clauses]
    found = Evaluator(StoredJudge(engine, store, "s"), engine, ObjectiveConfig()).evaluate(prompts, procedure, cases)
    assert found.labels.tolist() == [case.is_violation for case in cases]
    np.testing.assert_array_equal(found.scores, procedure.score(found.answers.probabilities))
    assert np.isnan(found.scores).tolist() == [True] + [False] * 19
    assert (found.measured.summary.cases, found.measured.summary.unjudged) == (20, 1)
    assert found.measured.tokens_per_case > 0


def _reasoned(samples, **settings):
    item = PromptSegment(role="user", slot=ITEM_SLOT)
    request = RationaleRequest(segments=(item,), **{"samples": samples, "max_tokens": 3, **settings})
    return LoweredPrompt(
        question="why",
        segments=(item, PromptSegment(role="assistant", slot="rationale"), PromptSegment(role="user", text="Bad?")),
        labels=("yes", "no"),
        rationale=request,
    )


class _Writing(FakeEngine):
    """Counts what it writes."""

    written = 0

    def generate(self, requests):
        self.written += len(requests)
        return super().generate(requests)


def test_rationales_are_written_once_and_their_scores_stored(store):
    cases = _cases("one", "you two", "three")
    engine = _Writing()
    first = StoredJudge(engine, store, "s").answers([_reasoned(2)], cases)
    assert (engine.written, engine.queries_seen) == (6, 6)
    expected = answer([_reasoned(2)], [case.text for case in cases], FakeEngine())
    np.testing.assert_allclose(first.probabilities["why"], expected.probabilities["why"], rtol=1e-6)
    again = _Writing()
    resumed = StoredJudge(again, store, "s").answers([_reasoned(2)], cases)
    np.testing.assert_array_equal(resumed.probabilities["why"], first.probabilities["why"])
    assert (again.written, again.queries_seen) == (0, 0), "a resumed sweep writes nothing again"
    more = StoredJudge(again, store, "s").answers([_reasoned(3)], cases)
    assert (again.written, again.queries_seen) == (3, 3), "two of the three samples are there"
    assert (more.probabilities["why"] != first.probabilities["why"]).any()
    StoredJudge(again, store, "s").answers([_reasoned(2, seed=1)], cases)
    assert again.written == 3 + 6, "another seed writes other rationales"


def test_a_sweep_that_was_killed_between_rationales_comes_out_the_same(store, tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "QUERIES_PER_CALL", 4)
    cases = _cases("a", "b", "c", "d")
    with pytest.raises(RuntimeError, match="out of order"):
        StoredJudge(_Breaking(), store, "s").answers([_reasoned(2)], cases)
    resumed = StoredJudge(FakeEngine(), store, "s").answers([_reasoned(2)], cases)
    other = ScoreStore(f"sqlite:///{tmp_path / 'other.db'}")
    whole = StoredJudge(FakeEngine(), other, "s").answers([_reasoned(2)], cases)
    np.testing.assert_array_equal(resumed.probabilities["why"], whole.probabilities["why"])
    assert list(store.dump()) == list(other.dump())
    assert store.spent("s").judgements == other.spent("s").judgements == 8
    other.close()


def test_no_rationale_is_stored(store, tmp_path):
    words = "zebra quagga"
    StoredJudge(FakeEngine(), store, "s").answers([_reasoned(2, max_tokens=8)], _cases(words))
    assert list(store.dump())
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"zebra" not in content
    assert b"quagga" not in content


def test_a_rationale_costs_tokens_before_it_is_written(store, policy, golden):
    engine = FakeEngine()
    evaluator = Evaluator(StoredJudge(engine, store, "s"), engine, ObjectiveConfig())
    cost = [evaluator.tokens_per_case([_reasoned(n)], golden.cases[:4]) for n in (1, 2)]
    assert cost[0] > 2 * 3
    assert cost[1] >= cost[0] + 2 * 3
    assert engine.calls == 0


def test_scores_are_kept_under_what_a_question_reads(store):
    """Cases that differ in what a question does not read share its score; what is not there is not asked about."""
    titles = PROMPTS[0].model_copy(update={"reading": Reading(parts=("title",))})
    engine = FakeEngine()
    cases = [
        Case(id="a", parts={"title": "you", "body": "one"}),
        Case(id="b", parts={"title": "you", "body": "two"}),
        Case(id="c", parts={"body": "three"}),
        Case(id="d", text="Title: you"),
    ]
    answers = StoredJudge(engine, store, "s").answers([titles, PROMPTS[1]], cases)

    assert engine.queries_seen == 1 + 4
    first = answers.probabilities["V1"]
    assert first[0] == first[1] == first[3] == pytest.approx(_direct(PROMPTS[0], cases[3], FakeEngine()))
    assert first[2] == 0.0
    assert len(set(answers.probabilities["V2"])) == 4
    again = StoredJudge(engine, store, "s").answers([titles, PROMPTS[1]], cases)
    assert engine.queries_seen == 5
    np.testing.assert_array_equal(again.probabilities["V1"], first)


def test_images_and_shortened_parts_are_said(store):
    limited = PROMPTS[0].model_copy(update={"reading": Reading(limits={"transcript": PartLimit(max_chars=4)})})
    photo = {"kind": "image", "reference": "photos/7.png", "media_type": "image/png"}
    cases = [
        Case(id="a", parts={"title": "t", "transcript": "a long one"}),
        Case(id="b", parts={"title": "t", "photo": photo}),
    ]
    answers = StoredJudge(FakeEngine(), store, "s").answers([limited], cases)

    assert answers.truncated == {0}
    assert answers.unjudged == {1: "part `photo` is an image (image/png), and the judge reads text only"}
    assert np.isnan(answers.probabilities["V1"][1])
