"""The calibrator is the one that fits held-out cases best."""

from __future__ import annotations

import numpy as np
import pytest

from promptopt.metrics.calibration import PlattCalibrator
from promptopt.metrics.calibrator_choice import choose_by_log_loss, log_loss
from promptopt.metrics.isotonic import IsotonicCalibrator


def _draw(frequency, n=4000, seed=0):
    random = np.random.default_rng(seed)
    scores = random.uniform(0.02, 0.98, n)
    return random.random(n) < frequency(scores), scores, [f"g{i}" for i in range(n)]


def test_log_loss_is_the_mean_negative_log_likelihood():
    labels, probabilities = np.array([True, False, True]), np.array([0.5, 0.25, np.nan])
    assert log_loss(labels, probabilities) == pytest.approx(-(np.log(0.5) + np.log(0.75)) / 2)
    assert np.isnan(log_loss(labels[2:], probabilities[2:]))
    assert np.isfinite(log_loss(labels[:1], np.array([0.0])))


def test_a_logistic_shape_takes_platt():
    drawn = _draw(lambda s: 1 / (1 + np.exp(-(3 * np.log(s / (1 - s)) - 2))))
    assert isinstance(choose_by_log_loss(*drawn), PlattCalibrator)


def test_steps_take_isotonic_regression():
    drawn = _draw(lambda s: np.select([s < 0.3, s < 0.7], [0.02, 0.5], 0.98))
    assert isinstance(choose_by_log_loss(*drawn), IsotonicCalibrator)


def test_few_groups_of_a_label_take_platt_however_many_rows_they_have():
    labels, scores, _ = _draw(lambda s: np.select([s < 0.3, s < 0.7], [0.02, 0.5], 0.98))
    assert isinstance(choose_by_log_loss(labels, scores, ["a" if y else "b" for y in labels]), PlattCalibrator)


def test_the_choice_ignores_the_unjudged_and_the_order_of_rows():
    labels, scores, groups = _draw(lambda s: np.select([s < 0.3, s < 0.7], [0.02, 0.5], 0.98))
    turned = np.random.default_rng(1).permutation(len(labels))
    more = np.append(scores[turned], np.nan)
    again = choose_by_log_loss(np.append(labels[turned], True), more, [*(groups[i] for i in turned), "other"])
    assert np.allclose(again.apply(scores), choose_by_log_loss(labels, scores, groups).apply(scores))
    with pytest.raises(ValueError, match="groups must have length"):
        choose_by_log_loss(labels, scores, groups[1:])
