"""Platt scaling recovers what was distorted, never reverses a ranking, and leaves the unjudged unjudged."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.metrics import brier_score_loss

from promptopt.metrics.calibration import PlattCalibrator, brier_score, expected_calibration_error, fit_platt


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_recovers_a_known_distortion():
    random = np.random.default_rng(0)
    logits = random.normal(0, 2, 20_000)
    labels = random.random(20_000) < sigmoid(logits)
    distorted = sigmoid(0.5 * logits - 1)
    fitted = fit_platt(labels, distorted)
    assert fitted.slope == pytest.approx(2.0, abs=0.08)
    assert fitted.intercept == pytest.approx(2.0, abs=0.1)
    assert expected_calibration_error(labels, distorted) > 0.1
    assert expected_calibration_error(labels, fitted.apply(distorted)) < 0.02


@given(st.integers(0, 2**32 - 1), st.integers(5, 30), st.integers(5, 30), st.floats(-3, 3))
def test_reaches_the_constrained_optimum(seed, positives, negatives, shift):
    random = np.random.default_rng(seed)
    labels = np.arange(positives + negatives) < positives
    x = random.normal(0, 3, len(labels)) + shift * labels
    targets = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))

    def loss(parameters):
        z = parameters[0] * x + parameters[1]
        return np.sum(np.logaddexp(0, z) - targets * z)

    fitted = fit_platt(labels, sigmoid(x))
    best = minimize(loss, [1.0, 0.0], bounds=[(0, None), (None, None)])
    assert loss([fitted.slope, fitted.intercept]) <= best.fun + 1e-4


def test_separable_scores_stay_finite():
    scores = np.array([0.0] * 10 + [1.0] * 10)
    fitted = fit_platt(scores > 0.5, scores)
    applied = fitted.apply(scores)
    assert applied[-1] == pytest.approx(11 / 12, abs=1e-3)
    assert applied[0] == pytest.approx(1 / 12, abs=1e-3)


def test_reversed_scores_give_a_flat_map_with_a_note():
    scores = np.linspace(0.01, 0.99, 40)
    fitted = fit_platt(scores < 0.5, scores)
    assert fitted.slope == 0.0
    assert "flat" in fitted.note
    assert np.ptp(fitted.apply(scores)) == 0.0


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.floats(0, 5), st.floats(-5, 5))
def test_apply_is_monotone_and_stays_in_range(scores, slope, intercept):
    applied = PlattCalibrator(slope=slope, intercept=intercept).apply(np.sort(scores))
    assert (np.diff(applied) >= 0).all()
    assert ((applied >= 0) & (applied <= 1)).all()


def test_unjudged_stays_unjudged():
    applied = PlattCalibrator(slope=2.0, intercept=1.0).apply(np.array([0.5, np.nan]))
    assert math.isnan(applied[1])
    assert not math.isnan(applied[0])


@pytest.mark.parametrize("positives", [0, 4])
def test_too_few_of_a_class_is_the_identity_with_a_note(positives):
    labels = np.arange(30) < positives
    fitted = fit_platt(labels, np.linspace(0.1, 0.9, 30))
    np.testing.assert_allclose(fitted.apply(np.array([0.2, 0.7])), [0.2, 0.7])
    assert f"{positives} violations" in fitted.note


def test_expected_calibration_error_by_hand():
    labels = np.array([True, False, True, False, True])
    probabilities = np.array([0.05, 0.05, 0.95, np.nan, 1.0])
    expected = (2 * abs(0.05 - 0.5) + 2 * abs(0.975 - 1.0)) / 4
    assert expected_calibration_error(labels, probabilities) == pytest.approx(expected)


def test_brier_agrees_with_scikit_learn():
    random = np.random.default_rng(1)
    labels, probabilities = random.random(50) < 0.4, random.random(50)
    assert brier_score(labels, probabilities) == pytest.approx(brier_score_loss(labels, probabilities))


def test_nothing_judged_is_nan():
    labels, probabilities = np.array([True]), np.array([np.nan])
    assert math.isnan(brier_score(labels, probabilities))
    assert math.isnan(expected_calibration_error(labels, probabilities))


def test_no_bins_is_refused():
    with pytest.raises(ValueError, match="bins"):
        expected_calibration_error(np.array([True]), np.array([0.5]), bins=0)


def test_a_falling_map_cannot_be_made():
    with pytest.raises(ValueError, match="slope"):
        PlattCalibrator(slope=-0.1)
