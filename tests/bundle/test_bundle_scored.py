"""Verdicts with the scores that they rest on."""

from __future__ import annotations

import math

import pytest

from promptopt.bundle.runtime import BundleJudge

TEXTS = ["one text", "", "another <refuse>", None, "a third", "half \ud800", "a fourth"]


def test_verdicts_are_those_of_judge_and_scores_lie_before_calibration(make_bundle, engine, steep):
    plain = BundleJudge(make_bundle(calibration=None), engine).judge_scored(TEXTS)
    calibrated_judge = BundleJudge(make_bundle(calibration=steep), engine)
    calibrated = calibrated_judge.judge_scored(TEXTS)

    assert [verdict for verdict, _ in calibrated] == calibrated_judge.judge(TEXTS)
    assert [score for _, score in calibrated] == pytest.approx([score for _, score in plain], nan_ok=True)
    assert [math.isnan(score) for _, score in plain] == [not verdict.is_judged for verdict, _ in plain]
    assert [verdict.is_judged for verdict, _ in plain] == [True, False, False, False, True, False, True]
    assert [score for _, score in plain if not math.isnan(score)] == [
        verdict.probability for verdict, _ in plain if verdict.is_judged
    ]


def test_blocks_are_one_call_each_and_change_nothing(make_bundle, make_engine):
    engine = make_engine()
    judge = BundleJudge(make_bundle(), engine)
    whole = judge.judge_scored(TEXTS)
    engine.calls.clear()

    blocks = judge.judge_scored(TEXTS, block=3)

    assert len(engine.calls) == 2  # of three and of one: what cannot be asked about takes no room in a block
    assert [verdict for verdict, _ in blocks] == [verdict for verdict, _ in whole]
    assert [score for _, score in blocks] == pytest.approx([score for _, score in whole], nan_ok=True)
    assert judge.judge_scored([]) == []
    with pytest.raises(ValueError, match="block"):
        judge.judge_scored(TEXTS, block=0)
