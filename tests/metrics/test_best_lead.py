"""The best of several was picked for its lead: its interval allows for that."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt.metrics.best_lead import best_lead, crossfit_spread
from promptopt.metrics.intervals import paired_bootstrap_difference
from promptopt.metrics.ranking import average_precision

CASES = 80
LABELS = np.arange(CASES) % 2 == 0


def _scores(skills, noise):
    random = np.random.default_rng(noise)
    hard = random.normal(size=CASES)
    return [skill * LABELS + hard + 0.8 * random.normal(size=CASES) for skill in skills]


def _best_first(scores):
    return sorted(scores, key=lambda one: -average_precision(LABELS, one))


def _lead(scores, **keywords):
    reference, *challengers = scores
    return best_lead(LABELS, reference, challengers, average_precision, alpha=0.05, resamples=300, **keywords)


def test_among_equals_the_best_stands_out_as_seldom_as_the_level_says():
    picked = alone = 0
    for noise in range(150):
        reference, *others = _scores([1.0] * 9, noise)
        best = _best_first(others)
        picked += _lead([reference, *best]).low > 0
        alone += _lead([reference, best[0]]).low > 0
    assert picked / 150 <= 0.05 + 2 * (0.05 * 0.95 / 150) ** 0.5
    assert alone > picked + 15, "one comparison takes the luck of eight for skill"


def test_a_real_lead_stands_out_among_many():
    reference, best, *others = _scores([0.3, 3.0, 0.3, 0.3, 0.3], 1)
    found = _lead([reference, best, *others])
    assert 0 < found.low < found.point < found.high
    assert found.point == pytest.approx(average_precision(LABELS, best) - average_precision(LABELS, reference))
    assert found.level == pytest.approx(0.9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_more_to_choose_from_and_more_spread_never_make_a_lead_surer(noise, more):
    scores = _scores([0.5, *[0.8] * (1 + more)], noise)
    alone, among = _lead(scores[:2]), _lead(scores)
    assert among.low <= alone.low
    assert among.point == alone.point
    assert _lead(scores[:2], spread=[crossfit_spread(5)]).low <= alone.low


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000))
def test_one_challenger_is_the_basic_bootstrap_of_one_comparison(noise):
    scores = _scores([0.5, 0.8], noise)
    groups = [f"g{i // 2}" for i in range(CASES)]
    found = _lead(scores, groups=groups)
    percentile = paired_bootstrap_difference(
        LABELS, *scores, average_precision, groups=groups, resamples=300, level=0.9, seed=0
    )
    assert found.low == pytest.approx(2 * found.point - percentile.high)
    assert found.high == pytest.approx(2 * found.point - percentile.low)


def test_rows_that_the_first_left_unjudged_are_left_out():
    scores = _scores([0.3, 1.0, 1.0], 3)
    scores[1][:10] = np.nan
    rest = [one[10:] for one in scores]
    expected = best_lead(LABELS[10:], rest[0], rest[1:], average_precision, alpha=0.05, resamples=300)
    assert _lead(scores) == expected


def test_a_rival_without_verdicts_neither_hides_nor_makes_a_lead():
    reference, best, rival = _scores([0.3, 3.0, 0.3], 1)
    alone = _lead([reference, best])
    assert _lead([reference, best, np.full(CASES, np.nan)]) == alone
    rival[: CASES // 2] = np.nan
    among = _lead([reference, best, rival])
    assert among.point == alone.point
    assert 0 < among.low < alone.low


def test_a_metric_that_is_never_defined_has_no_interval():
    found = best_lead(np.zeros(6, bool), np.arange(6.0), [np.arange(6.0)], average_precision, alpha=0.05, resamples=20)
    assert np.isnan([found.point, found.low, found.high]).all()
    assert found.dropped == 20


def test_the_spread_of_five_folds_is_that_of_nadeau_and_bengio():
    assert crossfit_spread(5) == pytest.approx(1.5)
    assert crossfit_spread(10) == pytest.approx((1 + 10 / 9) ** 0.5)
    with pytest.raises(ValueError, match="1 folds"):
        crossfit_spread(1)


@pytest.mark.parametrize(("challengers", "alpha"), [(0, 0.05), (1, 0.0), (1, 0.5)])
def test_nobody_or_no_level_is_refused(challengers, alpha):
    with pytest.raises(ValueError, match="challengers at a level of"):
        best_lead(LABELS, LABELS * 1.0, [LABELS * 1.0] * challengers, average_precision, alpha=alpha)
