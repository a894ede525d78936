"""Thresholds serve their criterion, survive rounding, and say so when the criterion is out of reach."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from promptopt.errors import ConfigError
from promptopt.metrics.operating_point import OperatingPoint, best_f1, choose_threshold, confusion, recall_at_precision

SCORED = st.lists(st.tuples(st.booleans(), st.integers(0, 1000)), min_size=1, max_size=40)


def columns(rows, step=1000.0):
    return np.array([r[0] for r in rows], dtype=bool), np.array([r[1] for r in rows], dtype=float) / step


def brute_force(labels, scores):
    """(precision, recall, f1) of flagging scores >= t, for every distinct t."""
    found = []
    for t in np.unique(scores):
        flagged = scores >= t
        tp = (flagged & labels).sum()
        found.append((tp / flagged.sum(), tp / labels.sum(), 2 * tp / (flagged.sum() + labels.sum())))
    return found


@given(SCORED, st.floats(0.05, 1.0))
def test_recall_at_precision_is_the_best_of_all_thresholds(rows, floor):
    labels, scores = columns(rows)
    assume(labels.any())
    reached = [r for p, r, _ in brute_force(labels, scores) if p >= floor]
    point = choose_threshold(labels, scores, "recall_at_precision", floor)
    assert recall_at_precision(labels, scores, floor) == pytest.approx(max(reached, default=0.0))
    assert point.feasible == bool(reached)
    if reached:
        assert point.recall == pytest.approx(max(reached))
        assert point.precision >= floor


@given(SCORED)
def test_f1_is_the_best_of_all_thresholds(rows):
    labels, scores = columns(rows)
    assume(labels.any())
    expected = max(f1 for _, _, f1 in brute_force(labels, scores))
    assert choose_threshold(labels, scores, "f1").f1 == pytest.approx(expected)
    assert best_f1(labels, scores) == pytest.approx(expected)


@given(SCORED, st.sampled_from(["f1", "recall_at_precision"]), st.integers(0, 2**32 - 1))
def test_the_threshold_gives_its_own_numbers_also_under_rounding(rows, criterion, seed):
    labels, scores = columns(rows)
    assume(labels.any())
    point = choose_threshold(labels, scores, criterion, 0.7)
    noise = np.random.default_rng(seed).uniform(-1e-6, 1e-6, len(scores))
    counts = confusion(labels, np.clip(scores + noise, 0.0, 1.0), point.threshold)
    assert counts.recall == pytest.approx(point.recall)
    assert counts.precision == pytest.approx(point.precision)
    assert counts.f1 == pytest.approx(point.f1)


@given(SCORED, st.integers(0, 2**32 - 1))
def test_scores_that_differ_by_rounding_are_never_parted(rows, seed):
    labels, scores = columns(rows)
    assume(labels.any())
    noisy = scores * (1 + np.random.default_rng(seed).uniform(-1e-6, 1e-6, len(scores)))
    assert choose_threshold(labels, noisy, "f1").f1 == pytest.approx(choose_threshold(labels, scores, "f1").f1)
    assert recall_at_precision(labels, noisy, 0.7) == pytest.approx(recall_at_precision(labels, scores, 0.7))


def test_very_small_scores_keep_their_ranking():
    labels, scores = np.array([True, True, False, False]), np.array([3e-9, 2e-9, 1e-9, 5e-10])
    point = choose_threshold(labels, scores, "recall_at_precision", 0.9)
    assert point.recall == 1.0
    assert 1e-9 < point.threshold < 2e-9


def test_midway_between_neighbours():
    point = choose_threshold(np.array([True, False]), np.array([0.8, 0.4]), "f1")
    assert point.threshold == pytest.approx(0.6)


def test_out_of_reach_falls_back_to_f1_and_says_the_best_precision():
    labels, scores = np.array([False, True, False, False]), np.array([0.9, 0.8, 0.2, 0.1])
    point = choose_threshold(labels, scores, "recall_at_precision", 0.8)
    assert not point.feasible
    assert "0.500" in point.note
    assert point.threshold == choose_threshold(labels, scores, "f1").threshold
    assert recall_at_precision(labels, scores, 0.8) == 0.0


@pytest.mark.parametrize(("labels", "scores"), [([], []), ([False], [0.3]), ([True], [np.nan])])
def test_nothing_to_choose_from_is_infeasible_and_survives_json(labels, scores):
    labels, scores = np.array(labels, dtype=bool), np.array(scores, dtype=float)
    point = choose_threshold(labels, scores, "recall_at_precision")
    assert not point.feasible
    assert point.note
    assert math.isnan(recall_at_precision(labels, scores, 0.8))
    assert math.isnan(OperatingPoint.model_validate_json(point.model_dump_json()).recall)


def test_confusion_counts_the_unjudged_apart():
    labels = np.array([True, True, True, False, False, False, False])
    scores = np.array([0.9, 0.1, np.nan, 0.8, 0.2, np.nan, np.nan])
    counts = confusion(labels, scores, 0.5)
    assert (counts.tp, counts.fn, counts.fp, counts.tn) == (1, 1, 1, 1)
    assert (counts.unjudged_positive, counts.unjudged_negative) == (1, 2)
    assert (counts.precision, counts.recall, counts.f1, counts.accuracy) == (0.5, 0.5, 0.5, 0.5)


def test_rates_without_a_denominator_are_nan():
    counts = confusion(np.array([False]), np.array([0.1]), 0.5)
    assert math.isnan(counts.precision)
    assert math.isnan(counts.recall)
    assert counts.accuracy == 1.0


@pytest.mark.parametrize("floor", [0.0, -1.0, 1.1, float("nan")])
def test_a_floor_that_cannot_be_met_is_a_user_error(floor):
    with pytest.raises(ConfigError, match="precision floor"):
        choose_threshold(np.array([True]), np.array([0.5]), "recall_at_precision", floor)


def test_unknown_criterion_names_the_known_ones():
    with pytest.raises(ConfigError, match="recall_at_precision or f1"):
        choose_threshold(np.array([True]), np.array([0.5]), "accuracy")
