"""Cascades keep their floor as often as they say, run only stages that pay, and pass on what they cannot settle."""

from __future__ import annotations

import math

import numpy as np
import pytest

from promptopt.errors import ConfigError
from promptopt.metrics.bands import Route
from promptopt.metrics.binomial import allowed_misses
from promptopt.metrics.cascade import _STREAM, CascadePlan, CascadeStage, StageBand, choose_shares, fit_cascade
from promptopt.metrics.certificates import certify_recall
from promptopt.metrics.intervals import wilson_interval

DRAWS = 300


def sample(n, seed=0, lifts=(2.0, 3.5), share=0.3, digits=9):
    random = np.random.default_rng(seed)
    labels = random.random(n) < share
    noise = random.normal(0, 0.5, n)
    scores = [random.normal(lift * (labels - 0.5), 1.0) + noise for lift in lifts]
    return labels, [np.round(1 / (1 + np.exp(-s)), digits) for s in scores]


def stages(scores, costs=(1.0, 10.0)):
    return [CascadeStage(s, cost) for s, cost in zip(scores, costs, strict=True)]


def plan_of(bands, human_cost=100.0):
    return CascadePlan(
        stages=tuple(bands),
        recall_floor=0.9,
        delta=0.1,
        precision=None,
        human_cost=human_cost,
        expected_cost=0.0,
        to_people=wilson_interval(0, 1),
    )


def band(low, high, cost, runs=True):
    return StageBand(low=low, high=high, cost=cost, runs=runs, recall=None)


def test_decisions_and_costs_by_hand():
    plan = plan_of([band(0.2, 0.8, 1.0), band(0.0, 0.0, 7.0, runs=False), band(0.4, None, 5.0)])
    first = np.array([0.1, 0.9, 0.5, 0.5, np.nan, 0.5])
    last = np.array([0.9, 0.1, 0.1, 0.9, 0.3, np.nan])
    routes, costs = plan.decide([first, np.full(6, 0.5), last])
    assert routes.tolist() == [Route.ALLOWED, Route.VIOLATION, Route.ALLOWED, Route.PEOPLE, Route.ALLOWED, Route.PEOPLE]
    assert costs.tolist() == [1.0, 1.0, 6.0, 106.0, 6.0, 106.0]


def test_one_stage_is_the_recall_certificate():
    labels, (scores, _) = sample(500)
    plan = fit_cascade([CascadeStage(scores, 1.0)], labels, 0.9, 0.1, 100.0)
    assert plan.stages[0].recall == certify_recall(labels, scores, 0.9, 0.1, unjudged="escalate")
    assert plan.stages[0].low == plan.stages[0].recall.threshold
    assert plan.stages[0].high is None
    assert plan.note == ""


def test_each_stage_takes_its_share_on_what_the_one_before_has_spared():
    labels, scores = sample(800)
    plan = fit_cascade(stages(scores), labels, 0.9, 0.1, 100.0, shares=(0.25, 0.75))
    first, second = (stage.recall for stage in plan.stages)
    assert first.floor * second.floor == pytest.approx(0.9)
    assert first.floor == pytest.approx(0.9**0.25)
    assert first.delta == second.delta == 0.05
    assert first.cases == labels.sum()
    assert second.cases == first.cases - allowed_misses(first.cases, first.floor, 0.05) - 1
    assert plan.stages[1].low is not None


def test_expected_cost_and_share_are_those_of_the_plan():
    labels, scores = sample(800)
    plan = fit_cascade(stages(scores), labels, 0.9, 0.1, 100.0)
    routes, costs = plan.decide(scores)
    assert plan.expected_cost == pytest.approx(costs.mean())
    assert plan.to_people.point == pytest.approx((routes == Route.PEOPLE).mean())
    assert plan.expected_cost < 0.7 * 100.0
    assert (routes[labels] != Route.ALLOWED).mean() >= 0.9


def test_a_stage_that_does_not_pay_is_left_out():
    labels, scores = sample(800)
    dear = fit_cascade(stages(scores, (1.0, 99.0)), labels, 0.9, 0.1, 100.0)
    assert [stage.runs for stage in dear.stages] == [True, False]
    hopeless = fit_cascade(stages(scores, (200.0, 300.0)), labels, 0.9, 0.1, 100.0)
    assert [stage.runs for stage in hopeless.stages] == [False, False]
    assert hopeless.expected_cost == 100.0
    assert hopeless.to_people.point == 1.0


def test_too_few_violations_pass_everything_on_and_say_what_is_missing():
    labels, scores = sample(60)
    plan = fit_cascade(stages(scores), labels, 0.95, 0.05, 100.0)
    assert all(stage.low is None and not stage.runs for stage in plan.stages)
    assert plan.to_people.point == 1.0
    assert "stage 1 allows nothing" in plan.note
    assert f"{plan.stages[0].recall.more} more" in plan.note
    assert CascadePlan.model_validate_json(plan.model_dump_json()) == plan


def test_a_stage_whose_certificate_fails_leaves_the_violations_to_the_next():
    labels, scores = sample(300)
    plan = fit_cascade(stages(scores), labels, 0.9, 0.1, 100.0, shares=(0.05, 0.95))
    assert plan.stages[0].low is None
    assert plan.stages[1].recall.cases == labels.sum()
    assert [stage.runs for stage in plan.stages] == [False, True]


def test_a_stage_without_risk_allows_nothing():
    labels, scores = sample(500)
    plan = fit_cascade(stages(scores), labels, 0.9, 0.1, 100.0, shares=(0.0, 1.0))
    assert plan.stages[0].recall is None
    assert plan.stages[1].recall.delta == 0.1


def test_unjudged_cases_are_passed_on_never_allowed():
    labels, scores = sample(800)
    scores[0][::3] = np.nan
    scores[1][::6] = np.nan
    plan = fit_cascade(stages(scores), labels, 0.9, 0.1, 100.0, precision_floor=0.7)
    routes, _ = plan.decide(scores)
    assert (routes[::6] == Route.PEOPLE).all()
    assert plan.stages[0].low is not None


@pytest.mark.parametrize("digits", [9, 1])
def test_the_floor_is_broken_in_at_most_delta_of_the_draws(digits):
    labels, scores = sample(100_000, 10**6, digits=digits)
    broken = 0
    for seed in range(DRAWS):
        y, s = sample(400, seed, digits=digits)
        routes, _ = fit_cascade(stages(s), y, 0.85, 0.2, 100.0, seed=seed).decide(scores)
        broken += (routes[labels] != Route.ALLOWED).mean() < 0.85
    assert broken / DRAWS <= 0.2 + 3 * math.sqrt(0.2 * 0.8 / DRAWS)


def test_each_share_of_the_risk_is_broken_in_at_most_its_delta_of_the_draws():
    """The second stage's own claim, on violations beyond what the first spent: what the guarantee rests on."""
    labels, scores = sample(100_000, 10**6, lifts=(1.5, 1.5))
    broken, floor = 0, math.sqrt(0.8)
    for seed in range(DRAWS):
        y, s = sample(300, seed, lifts=(1.5, 1.5))
        plan = fit_cascade(stages(s), y, 0.8, 0.2, 100.0, seed=seed)
        spent = np.sort(s[0][y])[allowed_misses(int(y.sum()), floor, 0.1)]
        spared = labels & (scores[0] > spent)
        broken += (scores[1][spared] >= plan.stages[1].low).mean() < floor
    assert 0.02 < broken / DRAWS <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / DRAWS)


def test_recall_and_precision_are_broken_in_at_most_delta_of_the_draws():
    labels, scores = sample(100_000, 10**6)
    broken, flags = 0, 0
    for seed in range(DRAWS):
        y, s = sample(500, seed)
        plan = fit_cascade(stages(s), y, 0.85, 0.2, 100.0, precision_floor=0.8, seed=seed)
        routes, _ = plan.decide(scores)
        flagged = routes == Route.VIOLATION
        flags += flagged.any()
        pure = not flagged.any() or labels[flagged].mean() >= 0.8
        broken += not (pure and (routes[labels] != Route.ALLOWED).mean() >= 0.85)
    assert flags > DRAWS / 2
    assert broken / DRAWS <= 0.2 + 3 * math.sqrt(0.2 * 0.8 / DRAWS)


def test_the_precision_certificate_counts_what_the_plan_flags():
    labels, scores = sample(3000)
    plan = fit_cascade(stages(scores), labels, 0.9, 0.1, 100.0, precision_floor=0.8, seed=4)
    half = np.random.default_rng((4, _STREAM)).random(3000) < 0.5
    flagged = plan.decide([s[~half] for s in scores])[0] == Route.VIOLATION
    assert plan.precision.cases == flagged.sum()
    assert plan.precision.misses == (flagged & ~labels[~half]).sum()
    assert {stage.high for stage in plan.stages} == {plan.precision.threshold}


def test_shares_go_to_the_stage_that_saves_most():
    labels, scores = sample(1500, lifts=(0.0, 4.0))
    assert choose_shares(stages(scores), labels, 0.9, 0.1, 100.0) == (0.0, 1.0)
    labels, scores = sample(1500, lifts=(4.0, 0.0))
    assert choose_shares(stages(scores), labels, 0.9, 0.1, 100.0) == (1.0, 0.0)


@pytest.mark.parametrize("shares", [(0.5,), (0.7, 0.7), (-0.5, 1.5)])
def test_shares_that_do_not_fit_are_refused(shares):
    labels, scores = sample(50)
    with pytest.raises(ConfigError, match="shares"):
        fit_cascade(stages(scores), labels, 0.9, 0.1, 100.0, shares=shares)


def test_unfit_arguments_are_refused():
    labels, scores = sample(50)
    with pytest.raises(ConfigError, match="stages"):
        fit_cascade([], labels, 0.9, 0.1, 100.0)
    with pytest.raises(ConfigError, match="floor"):
        fit_cascade(stages(scores), labels, 1.0, 0.1, 100.0)
    with pytest.raises(ValueError, match="shape"):
        fit_cascade(stages([scores[0], scores[1][:-1]]), labels, 0.9, 0.1, 100.0)
