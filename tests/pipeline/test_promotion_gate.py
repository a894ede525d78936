"""The gate's statistics: what makes a winner better, what silence costs, and how seldom copies are called better."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest

from promptopt.core.case import GoldenCase
from promptopt.errors import ConfigError
from promptopt.metrics.intervals import Interval
from promptopt.pipeline.promotion_gate import (
    GateSettings,
    MetricComparison,
    Pair,
    PromotionOutcome,
    Side,
    compare_metrics,
    compare_verdicts,
    estimate,
    outcome_of,
)
from promptopt.pipeline.promotion_reasons import reasons_for
from promptopt.pipeline.promotion_slices import RecallFloor, check_floors, compare_slices, parse_floor, slice_rows

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check_gate.py"
QUICK = GateSettings(permutations=400, resamples=200)
BETTER, NOTHING, WORSE = PromotionOutcome.BETTER, PromotionOutcome.NO_DIFFERENCE, PromotionOutcome.WORSE


def metric(name, difference, adjusted_p, p=None):
    interval = Interval(point=difference, low=difference - 0.1, high=difference + 0.1, level=0.95)
    p = adjusted_p if p is None else p
    return MetricComparison(
        name=name, incumbent=0.5, winner=0.5 + difference, difference=interval, p=p, adjusted_p=adjusted_p
    )


def metrics(auprc=(0.0, 1.0), precision=(0.0, 1.0), f1=(0.0, 1.0)):
    quiet = [metric(name, 0.0, 1.0) for name in ("recall_at_precision", "recall")]
    return [metric("auprc", *auprc), *quiet, metric("precision", *precision), metric("f1", *f1)]


def side(scores, threshold=0.5):
    scores = np.asarray(scores, dtype=np.float64)
    judged = ~np.isnan(scores)
    return Side(scores, judged & (np.nan_to_num(scores) >= threshold), judged)


def pair(labels, incumbent, winner):
    return Pair(np.asarray(labels, dtype=bool), [f"g{i}" for i in range(len(labels))], side(incumbent), side(winner))


def simulated(lift, n=160, seed=0):
    random = np.random.default_rng(seed)
    labels = random.random(n) < 0.4
    latent = random.normal(1.4 * labels, 1.0)
    noisy = [latent + extra * labels + random.normal(0, 0.4, n) for extra in (0.0, lift)]
    return pair(labels, *(1 / (1 + np.exp(-(scores - 0.7))) for scores in noisy))


def case(number, **keys):
    given = {"label": "violation", "clause": "X1", "severity": 3} | keys
    return GoldenCase(id=f"c{number}", text=f"text {number}", group=f"g{number}", **given)


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (metrics(auprc=(0.1, 0.04)), BETTER),
        (metrics(auprc=(0.1, 0.05)), BETTER),
        (metrics(auprc=(0.1, 0.06)), NOTHING),
        (metrics(auprc=(-0.1, 0.04)), WORSE),
        (metrics(auprc=(math.nan, math.nan)), NOTHING),
        (metrics(auprc=(0.1, 0.01), precision=(-0.1, 0.01)), NOTHING),
        (metrics(auprc=(0.1, 0.01), f1=(-0.1, 0.01)), NOTHING),
        (metrics(auprc=(0.1, 0.01), precision=(-0.1, 0.06)), BETTER),
        (metrics(precision=(-0.1, 0.01)), NOTHING),
        (metrics(f1=(-0.1, 0.01)), WORSE),
        (metrics(f1=(0.1, 0.01)), NOTHING),
    ],
)
def test_what_makes_an_outcome(found, outcome):
    assert outcome_of(found, 0.05) is outcome


def test_a_clear_gain_a_clear_loss_and_none():
    gain, loss, none = (compare_metrics(simulated(lift), QUICK) for lift in (1.5, -1.3, 0.0))

    assert [outcome_of(found, 0.05) for found in (gain, loss, none)] == [BETTER, WORSE, NOTHING]
    assert [m.name for m in gain] == ["auprc", "recall_at_precision", "recall", "precision", "f1"]
    for found in (*gain, *loss, *none):
        assert found.difference.point == pytest.approx(found.winner - found.incumbent)
        assert found.difference.low <= found.difference.point <= found.difference.high
        assert found.adjusted_p >= found.p
    assert gain[0].difference.low > 0


def test_an_unjudged_violation_is_missed_and_leaves_the_ranking_of_both():
    labels = [True] * 4 + [False] * 4
    incumbent = [0.9, 0.8, 0.7, 0.6, 0.4, 0.3, 0.2, 0.1]
    winner = [math.nan, *incumbent[1:]]
    found = {m.name: m for m in compare_metrics(pair(labels, incumbent, winner), QUICK)}

    assert (found["recall"].incumbent, found["recall"].winner) == (1.0, 0.75)
    assert (found["precision"].incumbent, found["precision"].winner) == (1.0, 1.0)
    assert found["f1"].winner == pytest.approx(6 / 7)
    assert found["auprc"].incumbent == found["auprc"].winner == 1.0


def test_no_verdict_on_an_allowed_case_is_not_right_either():
    labels = [True] * 3 + [False] * 8
    incumbent = [0.9] * 3 + [0.1] * 8
    winner = [0.9] * 3 + [math.nan] * 7 + [0.1]
    all_cases, violations, allowed = compare_verdicts(pair(labels, incumbent, winner))

    assert (violations.test.gained, violations.test.lost) == (0, 0)
    assert (allowed.test.right_a, allowed.test.right_b, allowed.test.lost) == (8, 1, 7)
    assert all_cases.test.lost == 7
    assert allowed.lost(0.05)
    _, obstacles = reasons_for(BETTER, metrics(auprc=(0.1, 0.01)), [allowed], [], GateSettings(), 11)
    assert obstacles == ["significantly fewer allowed cases are judged right: 0 gained, 7 lost, Holm p 0.0469"]


def test_where_nothing_is_judged_by_both_there_is_no_difference():
    found = compare_metrics(pair([True, False], [math.nan, 0.1], [0.9, 0.1]), QUICK)

    assert outcome_of(found, 0.05) is NOTHING
    reasons, _ = reasons_for(NOTHING, found, [], [], QUICK, 2)
    assert reasons[0] == "AUPRC cannot be compared: no violation was judged by both"
    assert reasons[1] == "2 groups of cases are too few for any difference to be significant"


def test_what_decided_comes_first():
    settings = GateSettings()
    reasons, _ = reasons_for(WORSE, metrics(precision=(-0.2, 0.03), f1=(-0.1, 0.01)), [], [], settings, 90)
    assert reasons == [
        "F1 at threshold is significantly lower (-0.100, Holm p 0.0100)",
        "AUPRC does not differ significantly (+0.000, Holm p 1.0000)",
        "precision at threshold is significantly lower (-0.200, Holm p 0.0300)",
    ]
    reasons, _ = reasons_for(NOTHING, metrics((0.1, 0.00001), (-0.2, 0.03)), [], [], settings, 90)
    assert reasons[0] == "AUPRC is significantly higher (+0.100, Holm p < 0.0001)"


def test_the_estimate_is_corrected_where_the_gate_was_passed():
    passed = estimate(metrics(auprc=(0.12, 0.04)), 0.3, 0.05)
    failed = estimate(metrics(auprc=(0.12, 0.06)), math.nan, 0.05)

    assert passed.search == 0.3
    assert passed.test.point == 0.12
    assert 0 < passed.given_significance.point < 0.12
    assert passed.critical == pytest.approx(0.12 / (0.1 / 1.96), abs=1e-3)  # Holm asks for 2.58, the test passed less
    assert failed.given_significance is failed.critical is None
    sure = estimate([metric("auprc", 0.6, 0.0005, p=0.0001), metric("f1", 0.0, 1.0)], math.nan, 0.05)
    assert sure.critical == pytest.approx(2.2414, abs=1e-4)  # alpha / 2 metrics, two-sided
    assert sure.given_significance.point == pytest.approx(0.6, abs=1e-4)


def test_slices():
    cases = [case(i, clause="X1.a" if i < 6 else "X2", severity=4 if i < 2 else 3) for i in range(10)]
    cases += [case(10, severity=1, language="de"), case(11, label="allowed", clause=None, severity=0, language="de")]
    caught = np.ones(12, dtype=bool), np.array([False] * 6 + [True] * 6)
    floors = [RecallFloor(slice="clause:X2", floor=1.0), RecallFloor(slice="language:de", floor=0.5)]
    found = {s.slice: s for s in compare_slices(cases, caught, [*floors, parse_floor("severity>=4=0.2")], 0.05)}

    assert list(found) == [
        "clause:X1.a", "severity:3", "severity>=3", "language:en", "clause:X2", "language:de", "severity>=4"
    ]  # fmt: skip
    assert (found["clause:X1.a"].gained, found["clause:X1.a"].lost, found["clause:X1.a"].regressed) == (0, 6, True)
    assert found["clause:X1.a"].p_loss == pytest.approx(1 / 64)
    assert found["clause:X1.a"].incumbent.low == pytest.approx(0.025 ** (1 / 6))
    assert found["clause:X1.a"].incumbent.high == 1.0
    assert found["severity:3"].violations == 8
    assert (found["clause:X2"].winner.point, found["clause:X2"].below_floor) == (1.0, False)
    assert (found["language:de"].violations, found["language:de"].below_floor) == (1, False)
    assert (found["severity>=4"].floor, found["severity>=4"].below_floor, found["severity>=4"].regressed) == (
        0.2, True, False
    )  # fmt: skip
    _, obstacles = reasons_for(BETTER, metrics(auprc=(0.1, 0.01)), [], list(found.values()), GateSettings(), 12)
    assert "the slice clause:X1.a regressed: of 6 violations 0 gained, 6 lost, p 0.0156" in obstacles
    assert "recall on severity>=4 is 0.000, 0.2 is asked for" in obstacles


def test_a_slice_of_all_violations_is_not_tested_twice():
    cases = [case(i) for i in range(8)]
    assert compare_slices(cases, (np.ones(8, dtype=bool),) * 2, [], 0.05) == ()
    assert slice_rows("language:en", cases).all()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("V2=0.9", "'V2=0.9' is not SLICE=VALUE; write a slice as clause:V2.b, severity:4, severity>=3 or"),
        ("clause:V2", "'clause:V2' is not SLICE=VALUE"),
        ("severity>=3", "'severity>=3' is not SLICE=VALUE"),
        ("severity:7=0.5", "is not SLICE=VALUE"),
        ("clause:V2=much", "'much' is not a recall; give a number above 0 and at most 1"),
        ("clause:V2=1.5", "'1.5' is not a recall"),
        ("clause:V2=nan", "'nan' is not a recall"),
    ],
)
def test_floors_that_are_none(text, says):
    with pytest.raises(ConfigError, match="--recall-floor") as refused:
        parse_floor(text)
    assert says in str(refused.value)


def test_a_floor_on_a_slice_without_violations_is_refused():
    cases = [case(0), case(1, label="allowed", clause="X3", severity=0, language="fr")]
    check_floors([parse_floor("clause:X1=0.9")], cases)

    with pytest.raises(ConfigError, match=r"is in the slice clause:X3; there are clause:X1\."):
        check_floors([parse_floor("clause:X3=0.9")], cases)
    with pytest.raises(ConfigError, match=r"is in the slice severity>=4; there are severity:3\."):
        check_floors([parse_floor("severity>=4=0.9")], cases)
    with pytest.raises(ConfigError, match="clause:X1 is given twice"):
        check_floors([parse_floor("clause:X1=0.9"), parse_floor("clause:X1=0.8")], cases)


@pytest.fixture(scope="module")
def check_gate():
    spec = importlib.util.spec_from_file_location("check_gate", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_copies_of_one_prompt_are_seldom_called_better_and_a_better_one_often(check_gate):
    null = check_gate.simulate(check_gate.Shape(90, 0.45), 100, seed=1)
    power = check_gate.simulate(check_gate.Shape(200, 0.3, lift=1.0), 20, seed=1)

    assert null.outcomes[BETTER] <= 5
    assert null.unadjusted <= 7
    assert power.outcomes[BETTER] >= 16
    assert power.difference > 0.05
