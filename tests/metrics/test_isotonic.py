"""Isotonic calibration agrees with scikit-learn, and the calibrator fits the data there is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from promptopt.metrics.calibration import PlattCalibrator, expected_calibration_error, fit_platt
from promptopt.metrics.isotonic import (
    GroupCalibrator,
    IsotonicCalibrator,
    choose_calibrator,
    fit_by_group,
    fit_isotonic,
)


def sample(n, seed=0, share=0.4):
    random = np.random.default_rng(seed)
    labels = random.random(n) < share
    return labels, 1 / (1 + np.exp(-random.normal(2.0 * labels - 1, 1.0)))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(20, 200), st.sampled_from([1, 2, 4]))
def test_agrees_with_scikit_learn_on_smoothed_targets(seed, n, digits):
    labels, scores = sample(n, seed)
    labels[:5], labels[5:10] = True, False
    scores = np.round(scores, digits)
    positives, negatives = labels.sum(), (~labels).sum()
    targets = np.where(labels, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    peer = IsotonicRegression(out_of_bounds="clip").fit(scores, targets)
    grid = np.linspace(-0.1, 1.1, 301)
    np.testing.assert_allclose(fit_isotonic(labels, scores).apply(grid), peer.predict(grid), atol=1e-9)


@given(st.integers(0, 10_000), st.integers(10, 300))
def test_rises_stays_in_range_and_survives_json(seed, n):
    labels, scores = sample(n, seed)
    fitted = fit_isotonic(labels, scores)
    applied = fitted.apply(np.linspace(0, 1, 101))
    assert (np.diff(applied) >= 0).all()
    assert ((applied > 0) & (applied < 1)).all()
    assert IsotonicCalibrator.model_validate_json(fitted.model_dump_json()) == fitted


def test_corrects_a_distortion_that_platt_scaling_cannot():
    random = np.random.default_rng(0)
    scores = random.random(20_000)
    labels = random.random(20_000) < np.where(scores < 0.5, 0.1, 0.3)
    step, curve = fit_isotonic(labels, scores).apply(scores), fit_platt(labels, scores).apply(scores)
    assert expected_calibration_error(labels, step) < 0.01
    assert np.abs(step - np.where(scores < 0.5, 0.1, 0.3)).mean() < np.abs(curve - step).mean()


def test_unjudged_rows_are_left_out_and_stay_unjudged():
    labels, scores = sample(200)
    blind = np.append(scores, [np.nan, np.nan])
    fitted = fit_isotonic(np.append(labels, [True, False]), blind)
    assert fitted == fit_isotonic(labels, scores)
    assert np.isnan(fitted.apply(blind)[-2:]).all()
    assert not np.isnan(fitted.apply(scores)).any()


def test_rounding_does_not_change_the_fit():
    labels, scores = sample(400, 5)
    scores = np.round(scores, 2)
    noisy = scores * (1 + np.random.default_rng(1).uniform(-1e-6, 1e-6, 400))
    np.testing.assert_allclose(
        fit_isotonic(labels, noisy).probabilities, fit_isotonic(labels, scores).probabilities, rtol=1e-9
    )


def test_too_few_of_a_class_is_the_identity_and_reversed_scores_are_flat():
    fitted = fit_isotonic(np.arange(30) < 4, np.linspace(0.1, 0.9, 30))
    np.testing.assert_allclose(fitted.apply(np.array([0.2, 0.7])), [0.2, 0.7])
    assert "4 violations" in fitted.note
    scores = np.linspace(0, 1, 40)
    flat = fit_isotonic(scores < 0.5, scores)
    assert "flat" in flat.note
    np.testing.assert_allclose(flat.apply(scores), 0.5)
    assert fit_isotonic(scores < 0.5, np.full(40, 0.3)).apply(np.array([0.0]))[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("n", "share", "kind"),
    [(999, 0.4, PlattCalibrator), (1200, 0.4, IsotonicCalibrator), (1200, 0.03, PlattCalibrator)],
)
def test_the_calibrator_fits_the_number_of_cases(n, share, kind):
    labels, scores = sample(n, 1, share)
    assert isinstance(choose_calibrator(labels, scores), kind)
    scores[: n // 2] = np.nan
    assert isinstance(choose_calibrator(labels, scores), PlattCalibrator)


def test_groups_with_enough_of_both_labels_have_their_own():
    labels, scores = sample(900, 2)
    groups = np.repeat(["de", "en", "fr"], [400, 400, 100])
    scores[groups == "de"] **= 3
    fitted = fit_by_group(labels, scores, groups, minimum=60)
    assert set(fitted.own) == {"de", "en"}
    german = groups == "de"
    assert fitted.own["de"] == fit_platt(labels[german], scores[german])
    applied = fitted.apply(scores, groups)
    np.testing.assert_array_equal(applied[german], fitted.own["de"].apply(scores[german]))
    np.testing.assert_array_equal(applied[groups == "fr"], fitted.pooled.apply(scores[groups == "fr"]))
    np.testing.assert_array_equal(fitted.apply(scores[:3], ["xx"] * 3), fitted.pooled.apply(scores[:3]))
    pooled_error = expected_calibration_error(labels[german], fitted.pooled.apply(scores[german]))
    assert expected_calibration_error(labels[german], applied[german]) < pooled_error
    assert math.isnan(fitted.apply(np.array([np.nan]), ["de"])[0])


def test_group_calibrators_survive_json_with_both_kinds():
    labels, scores = sample(2600, 3)
    fitted = fit_by_group(labels, scores, np.repeat(["en", "fr"], [2000, 600]))
    assert isinstance(fitted.own["en"], IsotonicCalibrator)
    assert isinstance(fitted.own["fr"], PlattCalibrator)
    assert GroupCalibrator.model_validate_json(fitted.model_dump_json()) == fitted


def test_unjudged_rows_do_not_count_towards_a_group():
    labels, scores = sample(400, 4)
    scores[np.flatnonzero(labels)[20:]] = np.nan
    assert fit_by_group(labels, scores, ["en"] * 400, minimum=21).own == {}


@pytest.mark.parametrize(
    "knots",
    [
        {"scores": (), "probabilities": ()},
        {"scores": (0.1,), "probabilities": (0.1, 0.2)},
        {"scores": (0.2, 0.1), "probabilities": (0.1, 0.2)},
        {"scores": (0.1, 0.2), "probabilities": (0.2, 0.1)},
        {"scores": (0.1, 0.2), "probabilities": (0.0, 0.1)},
        {"scores": (0.1, float("nan")), "probabilities": (0.1, 0.2)},
        {"scores": (0.1, 0.2), "probabilities": (0.1, float("nan"))},
    ],
)
def test_a_map_that_is_none_cannot_be_made(knots):
    with pytest.raises(ValueError, match="knots"):
        IsotonicCalibrator(**knots)


def test_unfit_groups_are_refused():
    labels, scores = sample(50)
    with pytest.raises(ValueError, match="groups"):
        fit_by_group(labels, scores, ["en"])
    with pytest.raises(ValueError, match="minimum"):
        fit_by_group(labels, scores, ["en"] * 50, minimum=1)
    with pytest.raises(ValueError, match="groups"):
        fit_by_group(labels, scores, ["en"] * 50).apply(scores, ["en"])
