"""Graded, verbalized and reasoned judges in production: from disk to verdicts, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from promptopt.bundle.files import read_bundle, write_bundle
from promptopt.bundle.model import ParityCase
from promptopt.bundle.runtime import BundleJudge
from promptopt.core.case import Label
from promptopt.core.prompt import LoweredPrompt, PromptSegment, RationaleRequest
from promptopt.engines.fake import FakeEngine
from promptopt.errors import EngineError
from promptopt.policy.asking import answer
from promptopt.policy.verbalizer import Verbalizer

ITEM = PromptSegment(role="user", slot="text")
ASK = PromptSegment(role="user", text="\nBad?")
GRADED = LoweredPrompt(question="severity", segments=(ITEM, ASK), labels=("critical", "medium", "none"))
REASONED = LoweredPrompt(
    question="violation",
    segments=(ITEM, ASK, PromptSegment(role="assistant", slot="rationale"), ASK),
    labels=("yes", "no"),
    rationale=RationaleRequest(segments=(ITEM, ASK), samples=2, max_tokens=5),
)
VERBALIZED = LoweredPrompt(question="violation", segments=(ITEM, ASK), labels=("yes", "no", "Fine", "Bad"))
PROMPTS = {"graded": GRADED, "reasoned": REASONED, "verbalized": VERBALIZED}
VERBALIZER = Verbalizer(intercept=0.1, weights=(1.0, -1.0, -0.5, 0.5))
TEXTS = ["you hate it", "", "a quiet lake", None, "kill the lights"]


@pytest.fixture(params=PROMPTS)
def shape(request):
    return request.param


@pytest.fixture
def make(checklist, make_bundle):
    """A bundle of one shape, measured on ``FakeEngine()``, with any field replaced."""

    def build(shape, **fields):
        verbalizer = VERBALIZER if shape == "verbalized" else None
        procedure = checklist.model_copy(update={"shape": shape, "verbalizer": verbalizer})
        card = FakeEngine().describe()
        prompts = (PROMPTS[shape],)
        told = answer(prompts, texts := [f"pinned text {i}" for i in range(4)], FakeEngine())
        scores = procedure.score(told.probabilities)
        parity = tuple(
            ParityCase(
                id=f"p{row}",
                text=text,
                answers=told.of_case(row),
                score=float(scores[row]),
                label=Label.VIOLATION if scores[row] >= 0.45 else Label.ALLOWED,
            )
            for row, text in enumerate(texts)
        )
        measured = {"engine": card.to_dict(), "fingerprint": card.fingerprint}
        return make_bundle(procedure, **{"prompts": prompts, "parity": parity, **measured, **fields})

    return build


def test_it_survives_the_disk_and_verifies(make, shape, tmp_path):
    bundle = make(shape)
    found = read_bundle(write_bundle(bundle, tmp_path / "bundle"))
    assert found.digest == bundle.digest
    report = BundleJudge(found, FakeEngine()).verify(1e-12)
    assert report.passed
    assert not BundleJudge(found, FakeEngine(seed=1)).verify().passed


def test_a_changed_distribution_is_noticed(make):
    bundle = make("graded")
    first = bundle.parity[0]
    swapped = first.model_copy(update={"answers": {"severity": tuple(reversed(first.answers["severity"]))}})
    bent = bundle.model_copy(update={"parity": (swapped, *bundle.parity[1:])})
    assert BundleJudge(bent, FakeEngine()).verify().differing == ("p0",)


def test_verdicts_do_not_depend_on_the_block(make, shape):
    bundle = make(shape)
    verdicts = BundleJudge(bundle, FakeEngine()).judge(TEXTS)
    assert verdicts == BundleJudge(bundle, FakeEngine()).judge(TEXTS, block=1)
    assert [verdict.is_judged for verdict in verdicts] == [True, False, True, False, True]
    told = answer(bundle.prompts, ["you hate it"], FakeEngine())
    assert verdicts[0].probability == pytest.approx(bundle.procedure.score(told.probabilities)[0], abs=1e-9)


def test_a_graded_verdict_has_a_severity_of_the_policy(make):
    bundle = make("graded")
    for verdict in BundleJudge(bundle, FakeEngine()).judge([f"text {i}" for i in range(40)]):
        assert verdict.severity in ((2, 4) if verdict.label is Label.VIOLATION else (0,))
        assert (verdict.clause, verdict.rule) == (None, None)


def test_rationales_are_carried_on_request_only(make):
    bundle = make("reasoned")
    assert all(not verdict.rationales for verdict in BundleJudge(bundle, FakeEngine()).judge(TEXTS))
    judge = BundleJudge(bundle, FakeEngine(), rationales=True)
    assert [len(verdict.rationales) for verdict in judge.judge(TEXTS)] == [2, 0, 2, 0, 2]
    assert judge.usage.queries == 6
    plain = BundleJudge(bundle, FakeEngine())
    plain.judge(TEXTS)
    assert plain.usage.tokens_computed == judge.usage.tokens_computed


class _Wordless(FakeEngine):
    generate = None


def test_a_judge_that_cannot_write_is_refused_before_it_judges(make):
    engine = _Wordless()
    with pytest.raises(EngineError, match="cannot write the rationales"):
        BundleJudge(make("reasoned"), engine).judge(TEXTS)
    assert engine.calls == 0
    assert BundleJudge(make("graded"), engine).judge(TEXTS[:1])[0].is_judged


@pytest.mark.parametrize(
    ("shape", "fields", "says"),
    [
        ("graded", {"prompts": (GRADED.model_copy(update={"labels": ("high", "none")}),)}, "has 2 labels"),
        (
            "reasoned",
            {"prompts": (LoweredPrompt(question="violation", segments=(ITEM,), labels=("y", "n")),)},
            "reasoned",
        ),
        ("verbalized", {"prompts": (VERBALIZED.model_copy(update={"labels": ("yes", "no")}),)}, "has 2 labels"),
        ("graded", {"prompts": (REASONED.model_copy(update={"question": "severity"}),)}, "nowhere else"),
    ],
)
def test_prompts_have_to_fit_the_shape(make, shape, fields, says):
    with pytest.raises(ValidationError, match=says):
        make(shape, **fields)


def test_pinned_answers_have_to_fit_the_labels(make):
    bundle = make("graded")
    short = bundle.parity[0].model_copy(update={"answers": {"severity": 0.5}})
    with pytest.raises(ValidationError, match="does not answer with the labels of severity"):
        make("graded", parity=(short,))
    assert np.isfinite(bundle.parity[0].answers["severity"]).all()
