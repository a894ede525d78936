"""Judging from a bundle: the same verdicts as measured, without the framework."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from promptopt.bundle.model import PromptBundle
from promptopt.bundle.runtime import BAD_UNICODE, EMPTY_TEXT, BundleJudge
from promptopt.core.case import Label
from promptopt.errors import BundleError
from promptopt.metrics.bands import choose_band
from promptopt.policy.asking import bind

HEAVY = (
    "dspy",
    "optuna",
    "mlflow",
    "torch",
    "transformers",
    "pandas",
    "plotly",
    "pyarrow",
    "sklearn",
    "scipy",
    "hydra",
)


def test_the_runtime_loads_no_heavy_library():
    code = (
        "import sys, promptopt.bundle.runtime, promptopt.bundle.files, promptopt.bundle.tables\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def _by_hand(bundle: PromptBundle, engine, text: str) -> tuple[dict[str, float], float]:
    answers = {
        p.question: float(np.exp(engine.score([bind(p, {"text": text})]).logprobs[0, 0])) for p in bundle.prompts
    }
    return answers, float(bundle.procedure.score({q: np.array([a]) for q, a in answers.items()})[0])


def test_verdicts_are_those_of_the_procedure(bundle, engine):
    texts = [f"text {i}" for i in range(40)]
    verdicts = BundleJudge(bundle, engine).judge(texts)
    assert {v.label for v in verdicts} == {Label.VIOLATION, Label.ALLOWED}
    for text, verdict in zip(texts, verdicts, strict=True):
        answers, score = _by_hand(bundle, engine, text)
        expected = bundle.procedure.verdict(answers, score, bundle.operating_point.threshold)
        assert verdict.model_dump(exclude={"probability"}) == expected.model_dump(exclude={"probability"})
        assert verdict.probability == pytest.approx(score, abs=1e-6)


def test_a_direct_bundle_judges(make_bundle, direct, engine):
    bundle = make_bundle(direct)
    judge = BundleJudge(bundle, engine)
    [verdict] = judge.judge(["a text"])
    _, score = _by_hand(bundle, engine, "a text")
    assert verdict.probability == pytest.approx(score, abs=1e-6)
    assert verdict.clause is None
    assert judge.verify().passed


def test_the_threshold_is_on_the_calibrated_scale(make_bundle, engine, steep):
    texts = [f"text {i}" for i in range(40)]
    plain = BundleJudge(make_bundle(), engine).judge(texts)
    calibrated = BundleJudge(make_bundle(calibration=steep), engine).judge(texts)
    for before, after in zip(plain, calibrated, strict=True):
        p = before.probability
        assert after.probability == pytest.approx(1 / (1 + np.exp(-(4 * np.log(p / (1 - p)) + 0.5))), abs=1e-9)
        assert (after.label is Label.VIOLATION) == (after.probability >= 0.45)
    assert [v.label for v in plain] != [v.label for v in calibrated]


def test_no_verdict_is_a_value(bundle, engine):
    texts = ["fine", "", " \n\t", None, "<refuse> this", "x" * 300, "half \ud83d"]
    verdicts = BundleJudge(bundle, engine).judge(texts)
    assert [v.is_judged for v in verdicts] == [True, False, False, False, False, True, False]
    assert [v.unjudged_reason for v in verdicts[1:4]] == [EMPTY_TEXT] * 3
    assert verdicts[4].unjudged_reason == "V1: refused"
    assert verdicts[6].unjudged_reason == BAD_UNICODE
    assert [v.truncated for v in verdicts] == [False, False, False, False, False, True, False]
    assert all(v.label is None and v.probability is None for v in verdicts if not v.is_judged)


def test_only_askable_texts_reach_the_engine(bundle, engine):
    judge = BundleJudge(bundle, engine)
    judge.judge(["", None, " "])
    assert engine.calls == []
    judge.judge(["", "a", None, "b"])
    assert [q.segments[2].text for q in engine.calls[0]] == ["a", "a", "a", "b", "b", "b"]
    assert judge.usage.queries == 6


def test_streams_are_judged_in_blocks_as_they_are_read(bundle, engine):
    read = []

    def rows():
        for i in range(10):
            read.append(i)
            yield {"n": i, "body": f"text {i}"}

    stream = BundleJudge(bundle, engine).judge_rows(rows(), lambda row: row["body"], block=4)
    assert read == []
    first, verdict = next(stream)
    assert (first["n"], verdict.is_judged, read) == (0, True, [0, 1, 2, 3])
    rest = list(stream)
    assert [row["n"] for row, _ in rest] == list(range(1, 10))
    assert [len(call) for call in engine.calls] == [12, 12, 6]


def test_blocks_do_not_change_verdicts(bundle, engine):
    texts = [f"text {i}" for i in range(7)]
    judge = BundleJudge(bundle, engine)
    assert judge.judge(texts, block=1) == judge.judge(texts, block=3) == judge.judge(texts)
    assert judge.judge([]) == []
    with pytest.raises(ValueError, match="at least 1"):
        judge.judge(texts, block=0)


def test_verify_passes_on_the_judge_that_was_measured(bundle, engine):
    report = BundleJudge(bundle, engine).verify()
    assert report.passed
    assert report.engine_matches
    assert report.differing == ()
    assert report.agreement == 1.0
    assert report.largest_difference < 1e-6
    assert len(report.cases) == 16
    assert len(engine.calls) == 1


def test_verify_finds_a_judge_that_drifted(bundle, make_engine):
    judge = BundleJudge(bundle, make_engine(shift=0.02))
    report = judge.verify()
    assert not report.passed
    assert 1e-3 < report.largest_difference < 0.02
    assert set(report.differing) <= {case.id for case in bundle.parity}
    assert report.engine_matches
    if report.agreement == 1.0:
        assert judge.verify(tolerance=0.02).passed


def test_verify_finds_another_judge(bundle, make_engine):
    report = BundleJudge(bundle, make_engine(weights="b")).verify(tolerance=1.0)
    assert not report.engine_matches
    assert report.agreement < 1.0
    assert not report.passed
    assert set(report.differing) == {c.id for c in report.cases if c.found is not c.expected}


def test_one_changed_label_or_probability_is_listed_by_id(make_bundle, bundle, engine):
    cases = list(bundle.parity)
    flipped = Label.ALLOWED if cases[3].label is Label.VIOLATION else Label.VIOLATION
    cases[3] = cases[3].model_copy(update={"label": flipped})
    answers = cases[5].answers | {"V2": cases[5].answers["V2"] + 0.002}
    cases[5] = cases[5].model_copy(update={"answers": answers})
    cases[7] = cases[7].model_copy(update={"score": cases[7].score + 0.002})
    report = BundleJudge(make_bundle(parity=tuple(cases)), engine).verify()
    assert report.differing == ("case-3", "case-5", "case-7")
    assert report.agreement == 15 / 16


def test_an_unjudged_pinned_case_differs(make_bundle, bundle, engine):
    refused = bundle.parity[2].model_copy(update={"text": "<refuse>"})
    report = BundleJudge(make_bundle(parity=(bundle.parity[0], refused)), engine).verify()
    assert report.differing == ("case-2",)
    assert report.cases[1].difference is None
    assert report.cases[1].unjudged_reason == "V1: refused"
    assert report.largest_difference < 1e-6
    assert report.model_dump(mode="json")["cases"][1]["found"] is None


def test_check_engine_names_what_differs(bundle, engine, make_engine):
    BundleJudge(bundle, engine).check_engine()
    with pytest.raises(BundleError, match="weights_digest 'a' there, 'b' here"):
        BundleJudge(bundle, make_engine(weights="b")).check_engine()


def test_scores_inside_the_band_are_escalated_with_the_label_of_the_threshold(make_bundle, engine, steep):
    random = np.random.default_rng(0)
    labels = random.random(400) < 0.5
    scores = np.clip(random.normal(np.where(labels, 0.7, 0.3), 0.15), 0, 1)
    band = choose_band(labels, scores, 0.9, 0.9, 0.1).model_copy(update={"low": 0.35, "high": 0.65})
    texts = [*(f"text {i}" for i in range(60)), "", "<refuse> this"]
    before = BundleJudge(make_bundle(calibration=steep), engine).judge_scored(texts)
    after = BundleJudge(make_bundle(calibration=steep, band=band), engine).judge(texts)
    inside = [0.35 <= score < 0.65 for _, score in before]
    assert any(inside)
    assert not all(inside[:60])
    for (plain, _), banded, doubtful in zip(before, after, inside, strict=True):
        assert banded == plain.model_copy(update={"escalate": plain.escalate or doubtful})
    assert not after[-1].escalate
