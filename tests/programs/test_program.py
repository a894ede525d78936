"""One program, driven case by case through DSPy and all at once, gives the same verdicts."""

from __future__ import annotations

import asyncio
import copy

import dspy
import numpy as np
import pytest
from dspy.experimental import Noul
from dspy.teleprompt import BootstrapFewShot, LabeledFewShot

from promptopt.core.rationale import RationaleSettings
from promptopt.core.verdict import Verdict
from promptopt.engines.base import Generation, LabelScores
from promptopt.engines.fake import FakeEngine
from promptopt.errors import EngineError, UserError
from promptopt.policy.asking import NO_SCORES
from promptopt.policy.verbalizer import PANEL, Verbalizer
from promptopt.programs.decision_client import DecisionClient
from promptopt.programs.program import Ask
from promptopt.programs.prompt_format import PLACEMENTS, QUOTINGS, PromptFormat


def _one_by_one(program, cases, engine):
    program.bind_engine(engine)
    return [program(text=case.text) for case in cases]


def _assert_same(program, cases, engine):
    batched = program.judge(cases, engine)
    for prediction, verdict in zip(_one_by_one(program, cases, engine), batched, strict=True):
        single = prediction.verdict
        assert single.model_copy(update={"probability": None}) == verdict.model_copy(update={"probability": None})
        assert prediction.probability == single.probability
        if verdict.is_judged:
            assert single.probability == pytest.approx(verdict.probability, abs=1e-3)
    return batched


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("with_demos", [False, True])
def test_one_by_one_equals_batched(make_program, cases, engine, demos, shape, with_demos, placement):
    quoting = dict(zip(PLACEMENTS, QUOTINGS, strict=False))[placement]
    program = make_program(shape, demos=demos if with_demos else (), placement=placement, quoting=quoting, yes="bad")
    verdicts = _assert_same(program, cases, engine)
    assert {v.label for v in verdicts} >= {None}
    assert len({v.probability for v in verdicts if v.is_judged}) == len(cases) - 1


def test_dspy_scores_the_lowered_prompt(make_program, cases, engine, demos, shape):
    program = make_program(shape, demos=demos, quoting="tags")
    program.judge(cases[:1], engine)
    batched = list(engine.queries)
    engine.queries.clear()
    _one_by_one(program, cases[:1], engine)
    assert engine.queries == batched
    messages = program.lower()[0].messages(cases[0].text)
    shown = "".join(m["content"] for m in messages)
    if shape == "reasoned":
        shown = shown.replace("{{rationale}}", engine.generate(engine.requests[0])[0].text)
    assert "".join(s.text for s in batched[0].segments) == shown


def test_only_the_item_is_untrusted(make_program, cases, engine, demos):
    for shape in ("direct", "graded"):
        engine.queries.clear()
        make_program(shape, demos=demos).judge(cases, engine)
        for query, case in zip(engine.queries, cases, strict=True):
            assert [s.text for s in query.segments if s.from_case] == [case.text]


SAMPLED = RationaleSettings(samples=3, max_tokens=6, seed=7)


def test_rationales_are_written_in_one_call_and_answered_in_another(make_program, cases, engine, demos):
    program = make_program("reasoned", demos=demos, rationale=SAMPLED)
    verdicts = _assert_same(program, cases, engine)
    engine.requests.clear()
    engine.queries.clear()
    calls = engine.calls
    assert program.judge(cases, engine) == verdicts
    (requests,) = engine.requests
    assert engine.calls == calls + 1
    assert len(requests) == len(engine.queries) == 3 * len(cases)
    assert len({request.seed for request in requests}) == 3 * len(cases)
    assert {(request.max_tokens, request.temperature) for request in requests} == {(6, 0.7)}


def test_a_rationale_is_untrusted_and_the_judges_own_turn(make_program, cases, engine, demos):
    program = make_program("reasoned", demos=demos, rationale=SAMPLED)
    program.judge(cases[:1], engine)
    (requests,), queries = engine.requests, engine.queries
    for request, query in zip(requests, queries, strict=True):
        assert [s.text for s in request.segments if s.from_case] == [cases[0].text]
        assert [m.role for m in request.segments] == ["system", "user", "user", "user"], "without demonstrations"
        item, rationale = [s for s in query.segments if s.from_case]
        assert (item.role, item.text, rationale.role) == ("user", cases[0].text, "assistant")
        assert query.segments[-1].role == "user"
        assert query.segments[-1].text == f"{program.policy.question} Answer yes or no."
        assert query.labels == ("yes", "no")


def test_the_answer_is_the_mean_over_its_rationales(make_program, cases, engine):
    program = make_program("reasoned", rationale=SAMPLED)
    verdicts = program.judge(cases[:2], engine)
    yes = np.exp(engine.score(list(engine.queries)).logprobs[:, 0].astype(float)).reshape(2, 3)
    np.testing.assert_allclose([v.probability for v in verdicts], yes.mean(axis=1), rtol=1e-6)
    assert np.ptp(yes, axis=1).min() > 0, "samples differ"


def test_a_verdict_has_its_rationales_only_where_they_are_asked_for(make_program, cases, engine):
    program = make_program("reasoned", rationale=SAMPLED)
    assert all(verdict.rationales == () for verdict in program.judge(cases, engine))
    assert "rationales" not in program.judge(cases[:1], engine)[0].model_dump()
    for verdict, case in zip(program.judge(cases, engine, rationales=True), cases, strict=True):
        assert len(verdict.rationales) == (3 if verdict.is_judged else 0)
        alone = program.judge([case], engine, rationales=True)
        assert alone == [verdict], "a rationale does not depend on company"


class _Mute(FakeEngine):
    """Fails to write about texts with a word."""

    def generate(self, requests):
        written = super().generate(requests)
        about = ["".join(s.text for s in r.segments if s.from_case) for r in requests]
        return [
            Generation("", 0, "failed", "out of ink") if "hate" in text else one
            for text, one in zip(about, written, strict=True)
        ]


def test_a_case_without_a_rationale_is_unjudged(make_program, cases):
    verdicts = _assert_same(make_program("reasoned", rationale=SAMPLED), cases[:2], _Mute())
    assert verdicts[0] == Verdict.unjudged("no rationale: out of ink")
    assert verdicts[1].is_judged


class _Wordless(FakeEngine):
    """Cannot write."""

    generate = None


def test_a_judge_that_cannot_write_is_refused_before_it_judges(make_program, cases):
    engine = _Wordless()
    with pytest.raises(EngineError, match="cannot write the rationales it is asked for; choose a judge that writes"):
        make_program("reasoned").judge(cases, engine)
    assert engine.calls == 0
    assert make_program("direct").judge(cases[:1], engine)[0].is_judged


@pytest.mark.parametrize("shape_with_rationales", ["direct", "checklist", "graded"])
def test_no_other_shape_takes_rationales(make_program, shape_with_rationales):
    with pytest.raises(UserError, match=f"the {shape_with_rationales} shape for none"):
        make_program(shape_with_rationales, rationale=SAMPLED)


def test_what_is_not_judged_has_a_reason_and_no_label(make_program, cases, engine, shape):
    verdicts = _assert_same(make_program(shape), cases, engine)
    assert verdicts[2] == Verdict.unjudged("the text holds the word 'unspeakable'")
    assert sum(not v.is_judged for v in verdicts) == 1


def test_cut_texts_are_marked(make_program, cases, engine, shape):
    verdicts = _assert_same(make_program(shape), cases, engine)
    assert [v.truncated for v in verdicts] == [i == 3 for i in range(len(cases))]


class _Silent(FakeEngine):
    """Gives NaN for one label set, with or without a reason; reasons differ from question to question."""

    def __init__(self, with_reason):
        super().__init__()
        self._with_reason = with_reason

    def score(self, queries):
        scores = super().score(queries)
        asked = ["".join(s.text for s in q.segments) for q in queries]
        silent = [i for i, text in enumerate(asked) if "inferior" in text or "derogatory" in text]
        logprobs = scores.logprobs.copy()
        logprobs[silent] = np.nan
        reasons = {i: f"no. {'inferior' in asked[i]}" for i in silent} if self._with_reason else {}
        return LabelScores(logprobs, reasons)


@pytest.mark.parametrize("with_reason", [False, True])
def test_the_first_unanswered_question_gives_the_reason(make_program, cases, with_reason):
    verdicts = _assert_same(make_program("checklist"), cases[:2], _Silent(with_reason))
    assert {v.unjudged_reason for v in verdicts} == {"no. True" if with_reason else NO_SCORES}


def test_no_cases_ask_nothing(make_program, engine, shape):
    assert make_program(shape).judge([], engine) == []
    assert engine.calls == 0


def test_step_asks_what_is_missing_and_then_decides(make_program):
    program = make_program("checklist")
    names = program.procedure.questions
    assert program.step({}) == Ask(names)
    known = dict.fromkeys(names[1:], 0.1)
    assert program.step(known) == Ask(names[:1])
    verdict = program.step(known | {names[0]: 0.9})
    assert isinstance(verdict, Verdict)
    assert known == dict.fromkeys(names[1:], 0.1), "what is handed in is not changed"


def test_the_threshold_parts_the_labels(make_program, cases, engine):
    program = make_program("direct")
    probabilities = [v.probability for v in program.judge(cases, engine)]
    program.threshold = sorted(p for p in probabilities if p is not None)[4]
    verdicts = program.judge(cases, engine)
    assert sum(v.label == "violation" for v in verdicts) == 3
    assert [v.probability for v in verdicts] == probabilities


def test_an_optimiser_changes_only_the_predictor_that_it_touches(make_program, cases, engine):
    program = make_program("checklist")
    before = {prompt.question: prompt for prompt in program.lower()}
    predictor = program.ask["A3"]
    predictor.signature = predictor.signature.with_instructions("Think of A3.")
    predictor.demos = [dspy.Example(text="t", answer=True)]
    after = {prompt.question: prompt for prompt in program.lower()}
    assert {name for name in after if after[name] != before[name]} == {"A3"}
    assert after["A3"].messages()[0]["content"] == "Think of A3."
    assert program.question("A3") in after["A3"].messages()[1]["content"], "the predictor's own question stands in"
    _assert_same(program, cases, engine)


def test_dspy_finds_every_predictor(make_program):
    program = make_program("checklist")
    assert len(program.predictors()) == 11
    assert {name for name, _ in program.named_predictors()} == {f"ask['{q}']" for q in program.procedure.questions}


def test_labeled_few_shot_compiles_it(make_program, cases, engine, policy, shape):
    trainset = [
        dspy.Example(text=f"example {i}", question=policy.question, answer=i % 2 == 0).with_inputs("text")
        for i in range(5)
    ]
    program = make_program(shape, quoting="fence")
    compiled = LabeledFewShot(k=3).compile(program, trainset=trainset)
    own = 3 if shape == "reasoned" else 1
    assert all(len(prompt.messages()) == 1 + 2 * 3 + own for prompt in compiled.lower())
    assert all(len(prompt.messages()) == 1 + own for prompt in program.lower()), "the student is left as it was"
    assert compiled.layout == program.layout
    _assert_same(compiled, cases, engine)


def test_bootstrapped_grades_are_shown_as_their_words(make_program, cases, engine):
    program = make_program("graded").bind_engine(engine)
    trainset = [dspy.Example(text=case.text).with_inputs("text") for case in cases if "unspeakable" not in case.text]
    with dspy.context(lm=DecisionClient(engine, program.layout)):
        tuned = BootstrapFewShot(max_bootstrapped_demos=3, max_labeled_demos=0, max_rounds=1).compile(
            program, trainset=trainset
        )
    demos = tuned.ask["severity"].demos
    assert len(demos) == 3
    (prompt,) = tuned.lower()
    said = [m["content"] for m in prompt.messages() if m["role"] == "assistant"]
    assert said == [program.layout.ladder[demo.answer.level][1] for demo in demos]
    _assert_same(tuned, cases, engine)


def test_bootstrapped_demonstrations_are_the_judges_own_answers(make_program, cases, engine):
    program = make_program("direct").bind_engine(engine)
    trainset = [dspy.Example(text=case.text).with_inputs("text") for case in cases if "unspeakable" not in case.text]
    with dspy.context(lm=DecisionClient(engine, program.layout)):
        tuned = BootstrapFewShot(max_bootstrapped_demos=2, max_labeled_demos=0, max_rounds=2).compile(
            program, trainset=trainset
        )
    demos = tuned.ask["violation"].demos
    assert len(demos) == 2
    assert all(isinstance(demo.answer, Noul) for demo in demos)
    (prompt,) = tuned.lower()
    said = [m["content"] for m in prompt.messages() if m["role"] == "assistant"]
    assert said == ["yes" if demo.answer else "no" for demo in demos]
    _assert_same(tuned, cases, engine)


def test_a_deep_copy_stands_on_its_own_and_shares_the_judge(make_program, cases, engine, demos, shape):
    program = make_program(shape, demos=demos).bind_engine(engine)
    first = program.procedure.questions[0]
    for twin in (copy.deepcopy(program), program.deepcopy()):
        assert twin.lower() == program.lower()
        assert twin(text=cases[0].text).verdict == program(text=cases[0].text).verdict
        assert twin.ask[first].lm is program.ask[first].lm, "a judge is never copied"
        twin.ask[first].demos.clear()
        assert twin.lower() != program.lower()


def test_saving_and_loading_restore_prompts_layout_and_threshold(make_program, cases, engine, demos, tmp_path, shape):
    program = make_program(shape, demos=demos, quoting="tags", placement="question_twice", yes="bad", no="good")
    program.bind_engine(engine).threshold = 0.31
    last = program.ask[program.procedure.questions[-1]]
    last.signature = last.signature.with_instructions("Another.")
    path = tmp_path / "program.json"
    program.save(str(path))
    assert engine.describe().fingerprint not in path.read_text(encoding="utf-8")
    fresh = make_program(shape)
    fresh.load(str(path))
    assert fresh.lower() == program.lower()
    assert (fresh.layout, fresh.threshold) == (program.layout, 0.31)
    assert all(predictor.lm is None for predictor in fresh.predictors()), "a judge is bound, not loaded"
    assert fresh.judge(cases, engine) == program.judge(cases, engine)
    bound = make_program(shape).bind_engine(engine)
    bound.load(str(path))
    _assert_same(bound, cases, engine)
    assert bound(text=cases[0].text).verdict == program(text=cases[0].text).verdict


def test_a_state_of_another_program_is_refused_and_nothing_changes(make_program, tmp_path):
    program = make_program("direct")
    before = program.lower()
    with pytest.raises(UserError, match="'judgement' part"):
        program.load_state({"ask['violation']": {}})
    with pytest.raises(KeyError):
        program.load_state(make_program("checklist", quoting="tags").dump_state())
    with pytest.raises(UserError, match="grades by"):
        program.load_state(make_program("graded", quoting="tags").dump_state())
    assert program.lower() == before


def test_the_client_names_the_judge(engine):
    client = DecisionClient(engine, PromptFormat())
    assert client.model == f"promptopt/{engine.describe().fingerprint}"
    assert client.dump_state() == {"model": client.model}
    assert client.copy(rollout_id=1, temperature=1.0) is client
    assert client.with_layout(PromptFormat(yes="bad")).model == client.model


async def _ask_async(client, state):
    return await client.acall(state, {"answer": {}})


def test_the_client_answers_asynchronously_too(engine):
    client = DecisionClient(engine, PromptFormat())
    state = {"instructions": "i", "inputs": {"text": "t", "question": "q?"}}
    assert asyncio.run(_ask_async(client, state)) == client(state, {"answer": {}})


def test_evaluating_in_threads_changes_nothing(make_program, cases, engine, shape):
    program = make_program(shape).bind_engine(engine)
    examples = [dspy.Example(text=case.text).with_inputs("text") for case in cases]
    alone = [program(text=case.text).verdict for case in cases]
    found = {}

    def note(example, prediction, trace=None):
        found[example.text] = prediction.verdict
        return 1.0

    dspy.Evaluate(devset=examples, metric=note, num_threads=4, display_progress=False)(program)
    assert [found[case.text] for case in cases] == alone


@pytest.mark.slow
def test_the_default_judge_says_the_same_one_by_one_and_batched(make_program, cases, demos, default_judge, shape):
    reasons = {"rationale": RationaleSettings(samples=2, max_tokens=6)} if shape == "reasoned" else {}
    program = make_program(shape, demos=demos, yes="violates", no="allowed", **reasons)
    picked = cases[:2] + cases[3:5]
    batched = program.judge(picked, default_judge)
    single = [p.verdict for p in _one_by_one(program, picked, default_judge)]
    assert all(v.is_judged for v in batched)
    for one, many in zip(single, batched, strict=True):
        assert one.probability == pytest.approx(many.probability, abs=1e-3)
        assert (one.clause, one.truncated, one.escalate) == (many.clause, many.truncated, many.escalate)
    assert np.ptp([v.probability for v in batched]) > 1e-3, "a judge that says one thing of all would prove nothing"


def test_a_fitted_panel_is_the_same_one_by_one_and_batched(make_program, cases, engine):
    program = make_program("verbalized", panel=("Fine", "Bad", "You"))
    program.procedure = program.procedure.model_copy(
        update={"verbalizer": Verbalizer(intercept=-0.2, weights=(0.5, -0.5, -1.0, 1.0, 0.7))}
    )
    verdicts = _assert_same(program, cases, engine)
    plain = make_program("verbalized", panel=("Fine", "Bad", "You")).judge(cases, engine)
    assert [v.probability for v in verdicts] != [v.probability for v in plain]


def test_a_layout_with_a_panel_is_for_a_verbalized_program(make_program):
    with pytest.raises(UserError, match="the layout has a panel of words, the direct shape reads none"):
        make_program("direct", panel=("Fine",))
    assert make_program("verbalized").layout.panel == PANEL
