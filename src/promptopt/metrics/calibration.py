"""Scores as probabilities: Platt scaling, and how far probabilities are from frequencies."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from promptopt.core.model import FrozenModel
from promptopt.metrics.arrays import BoolArray, FloatArray, judged_rows
from promptopt.metrics.log_odds import log_odds, sigmoid

MIN_PER_CLASS = 5
_MAX_STEPS = 100
_FLAT_STEP = 1e-10
_RIDGE = 1e-12


class PlattCalibrator(FrozenModel):
    """A rising map from score to probability: ``sigmoid(slope * logit(score) + intercept)``.

    Attributes:
        slope: At least 0, so that calibration never reverses a ranking.
        intercept: Shift on the logit scale.
        note: Why the map is the identity or flat; empty for an ordinary fit.
    """

    slope: float = Field(default=1.0, ge=0.0)
    intercept: float = 0.0
    note: str = ""

    def apply(self, scores: FloatArray) -> FloatArray:
        """Calibrated probabilities.

        Args:
            scores: Any shape, in [0, 1]; clipped to [1e-6, 1 - 1e-6] before the logit. NaN stays NaN.

        Returns:
            float64 of the same shape, in (0, 1).
        """
        return sigmoid(self.slope * log_odds(scores) + self.intercept)


def fit_platt(labels: BoolArray, scores: FloatArray) -> PlattCalibrator:
    """Fits Platt scaling with smoothed targets.

    Source: Platt, "Probabilistic outputs for support vector machines" (1999), minimised by the damped Newton method of
    Lin, Lin and Weng, "A note on Platt's probabilistic outputs" (2007), with the slope held at 0 or more.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), in [0, 1], NaN where unjudged; unjudged rows are left out.

    Returns:
        The calibrator; the identity, with a note, when either class has fewer than 5 judged rows.
    """
    y, s = judged_rows(labels, scores)
    positives, negatives = int(y.sum()), int((~y).sum())
    if min(positives, negatives) < MIN_PER_CLASS:
        return PlattCalibrator(note=f"identity: {positives} violations and {negatives} allowed, {MIN_PER_CLASS} needed")
    targets = np.where(y, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    slope, intercept = _newton(log_odds(s), targets)
    if slope <= 0:
        level = float(targets.mean())
        note = "flat: violations do not score above allowed cases"
        return PlattCalibrator(slope=0.0, intercept=float(np.log(level / (1 - level))), note=note)
    return PlattCalibrator(slope=slope, intercept=intercept)


def expected_calibration_error(labels: BoolArray, probabilities: FloatArray, bins: int = 10) -> float:
    """Mean distance between probability and frequency over equal-width bins, weighted by their rows.

    Args:
        labels: True for a violation; shape (n,).
        probabilities: Shape (n,), in [0, 1], NaN where unjudged; unjudged rows are left out.
        bins: Number of bins of [0, 1].

    Returns:
        A number in [0, 1], or NaN without judged rows.

    Raises:
        ValueError: Fewer than one bin.
    """
    if bins < 1:
        raise ValueError(f"bins must be at least 1, not {bins}")
    y, p = judged_rows(labels, probabilities)
    if not len(p):
        return float("nan")
    place = np.clip((p * bins).astype(np.int64), 0, bins - 1)
    surplus = np.bincount(place, weights=p - y, minlength=bins)
    return float(np.abs(surplus).sum() / len(p))


def brier_score(labels: BoolArray, probabilities: FloatArray) -> float:
    """Mean squared distance between probability and outcome; NaN without judged rows."""
    y, p = judged_rows(labels, probabilities)
    return float(np.mean((p - y) ** 2)) if len(p) else float("nan")


def _newton(x: FloatArray, targets: FloatArray) -> tuple[float, float]:
    """Slope and intercept that minimise the cross-entropy of targets given sigmoid(slope * x + intercept)."""
    parameters = np.array([0.0, float(np.log(targets.mean() / (1 - targets.mean())))])
    design = np.stack([x, np.ones_like(x)], axis=1)
    loss = _cross_entropy(design @ parameters, targets)
    for _ in range(_MAX_STEPS):
        p = sigmoid(design @ parameters)
        gradient = design.T @ (p - targets)
        hessian = (design * (p * (1 - p))[:, np.newaxis]).T @ design + _RIDGE * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while (new := _cross_entropy(design @ (parameters - size * step), targets)) > loss and size > _FLAT_STEP:
            size /= 2
        if loss - new <= _FLAT_STEP * len(x):
            break
        parameters, loss = parameters - size * step, new
    return float(parameters[0]), float(parameters[1])


def _cross_entropy(logits: FloatArray, targets: FloatArray) -> float:
    return float(np.sum(np.logaddexp(0.0, logits) - targets * logits))
