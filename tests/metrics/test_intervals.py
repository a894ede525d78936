"""Intervals: fast, seeded, grouped, and equal to the slow way of computing them."""

from __future__ import annotations

import math
import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from promptopt.metrics.intervals import (
    bootstrap_interval,
    clopper_pearson_lower,
    paired_bootstrap_difference,
    wilson_interval,
)
from promptopt.metrics.operating_point import best_f1, recall_at_precision
from promptopt.metrics.ranking import average_precision, roc_auc

FAST = [average_precision, roc_auc, best_f1, partial(recall_at_precision, floor=0.6)]


def sample(n, seed=0, lift=1.0):
    random = np.random.default_rng(seed)
    labels = random.random(n) < 0.4
    return labels, np.round(1 / (1 + np.exp(-random.normal(lift * labels, 1.0))), 2)


@pytest.mark.parametrize("metric", FAST)
@pytest.mark.parametrize("grouped", [False, True])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_all_resamples_at_once_equal_one_at_a_time(metric, grouped, seed):
    labels, scores = sample(40, seed)
    scores[::9] = np.nan
    groups = [f"g{i // 3}" for i in range(40)] if grouped else None
    fast = bootstrap_interval(labels, scores, metric, groups=groups, resamples=30, seed=seed)
    slow = bootstrap_interval(labels, scores, lambda y, s: metric(y, s), groups=groups, resamples=30, seed=seed)
    assert (fast.point, fast.low, fast.high) == pytest.approx((slow.point, slow.low, slow.high), nan_ok=True)
    assert fast.dropped == slow.dropped


@pytest.mark.parametrize("metric", FAST)
def test_paired_difference_equals_one_at_a_time(metric):
    labels, a = sample(60, 1)
    _, b = sample(60, 2)
    a[3], b[5] = np.nan, np.nan
    fast = paired_bootstrap_difference(labels, a, b, metric, resamples=40)
    slow = paired_bootstrap_difference(labels, a, b, lambda y, s: metric(y, s), resamples=40)
    assert (fast.point, fast.low, fast.high) == pytest.approx((slow.point, slow.low, slow.high))


def test_fast_enough_for_every_trial():
    labels, scores = sample(500)
    start = time.perf_counter()
    bootstrap_interval(labels, scores, average_precision, resamples=1000)
    assert time.perf_counter() - start < 2.0


def test_covers_the_truth_about_as_often_as_it_says():
    truth = roc_auc(*sample(200_000, 99))
    intervals = [bootstrap_interval(*sample(150, seed), roc_auc, resamples=300) for seed in range(120)]
    covered = sum(i.low <= truth <= i.high for i in intervals) / len(intervals)
    assert 0.88 <= covered <= 1.0


def test_groups_widen_the_interval_when_their_members_repeat():
    labels, scores = sample(60)
    many_labels, many_scores = np.repeat(labels, 8), np.repeat(scores, 8)
    groups = np.repeat(np.arange(60), 8)
    rows = bootstrap_interval(many_labels, many_scores, roc_auc)
    whole = bootstrap_interval(many_labels, many_scores, roc_auc, groups=groups)
    assert whole.high - whole.low > 2 * (rows.high - rows.low)


def test_same_seed_same_interval(monkeypatch):
    labels, scores = sample(50)
    first = bootstrap_interval(labels, scores, average_precision, seed=3)
    assert first == bootstrap_interval(labels, scores, average_precision, seed=3)
    assert first != bootstrap_interval(labels, scores, average_precision, seed=4)
    groups = np.arange(50) // 2
    whole = bootstrap_interval(labels, scores, average_precision, groups=groups, resamples=250)
    monkeypatch.setattr("promptopt.metrics.intervals._BLOCK_CELLS", 50 * 100)
    assert bootstrap_interval(labels, scores, average_precision, groups=groups, resamples=250) == whole


def test_undefined_resamples_are_dropped_and_counted():
    labels = np.array([True] + [False] * 5)
    interval = bootstrap_interval(labels, np.linspace(1, 0, 6), average_precision, groups=list("abcdef"), resamples=400)
    assert 50 < interval.dropped < 250
    assert interval.low == interval.high == 1.0


@pytest.mark.parametrize("labels", [[], [False, False]])
def test_nothing_to_measure_is_nan_not_an_error(labels):
    labels = np.array(labels, dtype=bool)
    scores = np.zeros(len(labels))
    for interval in (
        bootstrap_interval(labels, scores, average_precision, resamples=5),
        bootstrap_interval(labels, scores, average_precision, resamples=5, groups=["a"] * len(labels)),
        paired_bootstrap_difference(labels, scores, scores, average_precision, resamples=5),
    ):
        assert math.isnan(interval.point)
        assert math.isnan(interval.low)
        assert interval.dropped == 5
        assert '"low":null' in interval.model_dump_json()


def test_a_better_judge_is_seen_to_be_better_and_the_same_judge_is_not():
    labels, weak = sample(300, 5, lift=0.3)
    strong = np.where(labels, 0.8, 0.2) * 0.5 + weak * 0.5
    assert paired_bootstrap_difference(labels, weak, strong, average_precision).low > 0
    same = paired_bootstrap_difference(labels, weak, weak, average_precision)
    assert (same.low, same.point, same.high) == (0.0, 0.0, 0.0)


def test_rows_unjudged_by_either_are_left_out_of_both():
    labels = np.array([True, False, True, False])
    a, b = np.array([0.9, 0.1, np.nan, 0.2]), np.array([0.9, 0.95, 0.8, np.nan])
    assert paired_bootstrap_difference(labels, a, b, average_precision, resamples=10).point == pytest.approx(-0.5)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.99))
def test_binomial_bounds_agree_with_scipy(counts, level):
    successes, n = counts
    peer = binomtest(successes, n).proportion_ci(level, method="wilson")
    mine = wilson_interval(successes, n, level)
    assert (mine.low, mine.high) == pytest.approx((peer.low, peer.high), abs=1e-9)
    one_sided = binomtest(successes, n, alternative="greater").proportion_ci(level, method="exact")
    assert clopper_pearson_lower(successes, n, level) == pytest.approx(one_sided.low, abs=1e-9)


@pytest.mark.parametrize(("floor", "n"), [(0.90, 29), (0.95, 59), (0.99, 299)])
def test_positives_needed_to_certify_a_recall_floor_without_a_miss(floor, n):
    assert clopper_pearson_lower(n, n) >= floor
    assert clopper_pearson_lower(n - 1, n - 1) < floor


def test_no_trials_says_nothing():
    assert (wilson_interval(0, 0).low, wilson_interval(0, 0).high) == (0.0, 1.0)
    assert clopper_pearson_lower(0, 0) == 0.0


@pytest.mark.parametrize(
    "call",
    [
        lambda: wilson_interval(3, 2),
        lambda: clopper_pearson_lower(1, 2, 1.0),
        lambda: bootstrap_interval(*sample(9), roc_auc, level=2.0),
        lambda: bootstrap_interval(*sample(9), roc_auc, resamples=0),
        lambda: bootstrap_interval(*sample(9), roc_auc, groups=["a"]),
    ],
)
def test_unfit_arguments_are_refused(call):
    with pytest.raises(ValueError, match=r"must|successes"):
        call()
