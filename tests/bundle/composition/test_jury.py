"""Juries: weights, agreement, members that cannot judge, and what the verdict cites."""

from __future__ import annotations

import numpy as np
import pytest

from promptopt.bundle.composition.opening import open_judge
from promptopt.core.case import Label
from promptopt.metrics.aggregates import combine

TEXTS = [f"text {number}" for number in range(80)]
NAMES = ("cheap", "second", "dear")
THRESHOLDS = np.array([0.45, 0.5, 0.45])


@pytest.fixture
def jury(composed_of):
    def make(weights=(2, 1, 1), **spec):
        members = [{"bundle": name, "weight": weight} for name, weight in zip(NAMES, weights, strict=True)]
        return composed_of("jury", shape="jury", members=members, **spec)

    return make


@pytest.fixture
def opinions(probability):
    return np.stack([probability(name, TEXTS) for name in NAMES], axis=1)


@pytest.mark.parametrize("aggregate", ["mean_logit", "mean", "median"])
def test_the_verdict_is_that_of_the_aggregate(opened, jury, opinions, aggregate):
    weights = np.array([2.0, 1.0, 1.0])
    joint = combine(opinions, weights, aggregate)
    threshold = combine(THRESHOLDS[np.newaxis, :], weights, aggregate)[0]
    with opened(jury(aggregate=aggregate)) as judge:
        assert judge.threshold == pytest.approx(threshold)
        traced = judge.judge_traced(TEXTS)
    assert [t.verdict.probability for t in traced] == pytest.approx(joint, abs=1e-6)
    assert [t.verdict.label is Label.VIOLATION for t in traced] == (joint >= threshold).tolist()
    assert {tuple(t.scores) for t in traced} == {("1", "2", "3")}
    assert not any(t.doubtful for t in traced)


def test_too_little_agreement_is_escalated(opened, jury, opinions):
    with opened(jury(agreement=0.75)) as judge:
        traced = judge.judge_traced(TEXTS)
        assert judge.costs()[0].passed == sum(t.doubtful for t in traced)
    flagged = opinions >= THRESHOLDS
    shares = []
    for row, told in enumerate(traced):
        violates = told.verdict.label is Label.VIOLATION
        share = np.array([2, 1, 1])[flagged[row] == violates].sum() / 4
        shares.append(share)
        assert told.doubtful == (share < 0.75)
        assert not told.doubtful or told.verdict.escalate
    assert 0.75 in shares
    assert min(shares) < 0.75


def test_threshold_and_calibration_of_the_file_count(opened, jury, opinions):
    calibration = {"slope": 2.0, "intercept": 1.0}
    joint = combine(opinions, np.array([2.0, 1.0, 1.0]), "mean_logit")
    expected = 1 / (1 + np.exp(-(2 * np.log(joint / (1 - joint)) + 1)))
    with opened(jury(threshold=0.6, calibration=calibration)) as judge:
        assert judge.threshold == 0.6
        verdicts = judge.judge(TEXTS)
    assert [v.probability for v in verdicts] == pytest.approx(expected, abs=1e-6)
    assert [v.label is Label.VIOLATION for v in verdicts] == (expected >= 0.6).tolist()


def test_a_member_of_weight_nothing_is_not_asked(opened, opener, jury):
    with opened(jury(weights=(1, 1, 0))) as judge:
        judge.judge(TEXTS)
        assert [cost.cases for cost in judge.costs()] == [80, 80, 80, 0]


def test_members_on_one_engine_share_it(opened, opener, jury):
    with opened(jury()):
        assert [engine.describe().weights_digest for engine in opener.opened] == ["a", "b"]


@pytest.mark.parametrize(("quorum", "judged"), [(0.5, True), (0.75, True), (0.76, False)])
def test_unjudged_members_leave_the_verdict_to_the_others_down_to_the_quorum(jury, make_engine, quorum, judged):
    class Mute(make_engine):
        def score(self, queries):
            scores = super().score(queries)
            if self._weights == "b":
                scores.logprobs[:] = float("nan")
                scores.unjudged.update(dict.fromkeys(range(len(queries)), "no idea"))
            return scores

    with open_judge(jury(quorum=quorum), opener=lambda config, folder: Mute(config["model"])) as judge:
        traced = judge.judge_traced(TEXTS)
        assert judge.costs()[0].unjudged == (0 if judged else 80)
    assert {t.verdict.is_judged for t in traced} == {judged}
    assert {tuple(t.scores) for t in traced} == {("1", "2")}
    if not judged:
        reason = traced[0].verdict.unjudged_reason
        assert reason.startswith("member 3 (dear): ")
        assert "no idea" in reason


def test_the_clause_is_that_of_the_weightiest_member_of_its_opinion_that_cites_one(opened, jury, shelf):
    with opened(shelf / "cheap") as cheap, opened(shelf / "dear") as dear:
        alone = {1: cheap.judge(TEXTS), 3: dear.judge(TEXTS)}
    with opened(jury(weights=(1, 5, 2))) as judge:
        verdicts = judge.judge(TEXTS)
    ways = set()
    for row, verdict in enumerate(verdicts):
        agreeing = [n for n in (3, 1) if alone[n][row].label is verdict.label and alone[n][row].clause]
        ways.add(tuple(agreeing))
        if agreeing:
            cited = alone[agreeing[0]][row]
            assert (verdict.clause, verdict.severity, verdict.rule) == (cited.clause, cited.severity, cited.rule)
        else:
            assert verdict.clause is None
            assert verdict.severity == (None if verdict.label is Label.VIOLATION else 0)
        escalating = any(alone[n][row].escalate and alone[n][row].label is verdict.label for n in (1, 3))
        assert verdict.escalate == escalating
    assert len(ways) >= 3
