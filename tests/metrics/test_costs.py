"""Recall at a share of false alarms, F-beta and weighted costs, against a look at every threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.errors import ConfigError
from promptopt.metrics.costs import SEVERITY_WEIGHTS, best_f_beta, recall_at_fpr, severity_cost
from promptopt.metrics.operating_point import best_f1

CASES = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0.1, 0.3, 0.5, 0.7, 0.9]), st.integers(1, 4)), min_size=2, max_size=20
)


def _arrays(cases):
    labels, scores, severities = (np.array(column) for column in zip(*cases, strict=True))
    return labels, scores.astype(float), severities


def _thresholds(scores):
    return [*np.unique(scores), 2.0]


@given(CASES, st.sampled_from([0.0, 0.05, 0.3, 0.9]))
def test_recall_at_fpr_is_the_best_of_all_thresholds(cases, ceiling):
    labels, scores, _ = _arrays(cases)
    if not labels.any() or labels.all():
        assert math.isnan(recall_at_fpr(labels, scores, ceiling))
        return
    kept = [scores >= t for t in _thresholds(scores)]
    best = max(flags[labels].mean() for flags in kept if flags[~labels].mean() <= ceiling + 1e-12)
    assert recall_at_fpr(labels, scores, ceiling) == pytest.approx(best)


@given(CASES)
def test_f_beta_of_one_is_f1_and_a_larger_beta_cares_for_recall(cases):
    labels, scores, _ = _arrays(cases)
    if not labels.any():
        assert math.isnan(best_f_beta(labels, scores, 1.0))
        return
    assert best_f_beta(labels, scores, 1.0) == pytest.approx(best_f1(labels, scores))
    assert best_f_beta(labels, scores, 100.0) > 0.99, "with everything flagged, recall is 1"


@given(CASES)
def test_severity_cost_is_the_cheapest_of_all_thresholds(cases):
    labels, scores, severities = _arrays(cases)
    weights = np.array(SEVERITY_WEIGHTS)[severities]
    trivial = min(weights[labels].sum(), (~labels).sum())
    if not trivial:
        assert math.isnan(severity_cost(labels, scores, severities))
        return
    costs = [weights[labels & (scores < t)].sum() + ((scores >= t) & ~labels).sum() for t in _thresholds(scores)]
    assert severity_cost(labels, scores, severities) == pytest.approx(min(costs) / trivial)
    assert severity_cost(labels, scores, severities) <= 1


def test_an_unjudged_violation_is_a_miss_and_an_unjudged_case_no_alarm():
    labels = np.array([True, True, False, False])
    severities = np.array([4, 1, 0, 0])
    assert severity_cost(labels, np.array([0.9, 0.8, 0.1, 0.1]), severities) == 0
    assert severity_cost(labels, np.array([0.9, np.nan, 0.1, np.nan]), severities) == pytest.approx(1 / 2)
    assert severity_cost(labels, np.array([np.nan, 0.8, 0.1, 0.1]), severities) == pytest.approx(8 / 2)


def test_senseless_settings_are_refused():
    labels, scores = np.array([True, False]), np.array([0.9, 0.1])
    with pytest.raises(ConfigError, match="false positive rate of 1"):
        recall_at_fpr(labels, scores, 1.0)
    with pytest.raises(ConfigError, match="beta of 0"):
        best_f_beta(labels, scores, 0.0)
