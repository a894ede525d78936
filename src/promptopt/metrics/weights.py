"""Weights of several opinions: a logistic regression, whose coefficients may have a sign that is known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from promptopt.errors import ConfigError
from promptopt.metrics.arrays import BoolArray, FloatArray
from promptopt.metrics.calibration import MIN_PER_CLASS

DEFAULT_PENALTY = 1.0
_MOST_STEPS = 500
_TOLERANCE = 1e-10
_ARMIJO = 1e-4  # share of the decrease that the tangent promises; Nocedal and Wright, "Numerical Optimization", 3.1
_STEP_SIZES = tuple(2.0**-i for i in range(40))
_NOTHING = 1e-9  # a coefficient of a standardised feature below this is 0 that the minimiser has not quite reached


class _Problem(NamedTuple):
    """Standardised features, targets, how often each counts, and the ridge: its penalty and its centre."""

    z: FloatArray
    targets: FloatArray
    counts: FloatArray
    penalty: float
    centre: FloatArray


class Weights(NamedTuple):
    """A sum of log-odds that is itself log-odds of a violation.

    Attributes:
        coefficients: Of the features; shape (features,), none negative unless they were fitted with either sign.
        intercept: Added to their sum.
        rows: Cases that it was fitted on.
        positives: Violations among them.
    """

    coefficients: FloatArray
    intercept: float
    rows: int
    positives: int

    def log_odds(self, features: FloatArray) -> FloatArray:
        """Log-odds of a violation.

        Args:
            features: Shape (cases, features), NaN where unknown.

        Returns:
            float64 of shape (cases,), NaN where a feature is unknown.
        """
        total = np.full(len(features), self.intercept)
        for column, coefficient in zip(features.T, self.coefficients, strict=True):
            total = total + coefficient * column  # one at a time: a row's sum is the same in any company
        return total


def fit_weights(
    features: FloatArray,
    labels: BoolArray,
    *,
    penalty: float = DEFAULT_PENALTY,
    multiplicity: Sequence[float] | FloatArray | None = None,
    signed: bool = False,
    centre: Sequence[float] | FloatArray | None = None,
) -> Weights:
    """Logistic regression with an L2 penalty and, unless it says otherwise, no negative coefficient.

    Minimises the cross-entropy plus ``penalty / 2`` times the squared coefficients of the standardised features, the
    intercept free (Hoerl and Kennard's ridge on the logistic loss; the constraint is that of non-negative stacking,
    Breiman, "Stacked regressions", 1996). With a centre the penalty is on the distance to it, as of a Gaussian prior
    whose mean was found on other data (Chelba and Acero, "Adaptation of maximum entropy capitalizer", 2004). As
    features are standardised by their own mean and deviation, without the labels, an affine change of a feature, such
    as another calibration of the same judge, leaves the fitted function as it was.

    Args:
        features: Each the larger the likelier a violation; shape (cases, features), NaN where unknown: such cases
            are left out.
        labels: True for a violation; shape (cases,).
        penalty: Above 0; 1 is that of one observation of unit size for each coefficient.
        multiplicity: How often each case counts; shape (cases,); once by default.
        signed: Whether coefficients may be negative, for features that may speak either way.
        centre: Coefficients of the standardised features that the penalty draws to, (features,); 0 by default. Only
            with ``signed``.

    Returns:
        The weights on the scale of the features; a feature that never varies has 0, and so has one that would take a
        negative coefficient where none may.

    Raises:
        ConfigError: The penalty is not above 0, or fewer than 5 of either label are known in full.
        ValueError: Shapes differ or a feature is infinite, or there is a centre where signs are fixed.
    """
    if centre is not None and not signed:
        raise ValueError("a centre goes with coefficients of either sign")
    if not penalty > 0:
        raise ConfigError(f"a penalty of {penalty}", remedy="give a number above 0")
    x, y, counts = _known(features, labels, multiplicity)
    _refuse_too_few(y)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    varies = deviation > _NOTHING * np.maximum(1.0, np.abs(mean))
    z = np.where(varies, (x - mean) / np.where(varies, deviation, 1.0), 0.0)
    share = float(np.average(y, weights=counts))
    drawn_to = np.zeros(z.shape[1]) if centre is None else np.where(varies, np.asarray(centre, dtype=np.float64), 0.0)
    start = np.append(drawn_to, np.log(share) - np.log1p(-share))
    problem = _Problem(z, y.astype(np.float64), counts, penalty, drawn_to)
    found = (_by_newton if signed else _by_projection)(start, problem)
    standard = np.where(varies & (np.abs(found[:-1]) > _NOTHING), found[:-1], 0.0)
    coefficients = standard / np.where(varies, deviation, 1.0)
    intercept = float(found[-1] - np.sum(coefficients * mean))
    return Weights(coefficients, intercept, len(y), int(y.sum()))


def _refuse_too_few(labels: BoolArray) -> None:
    positives, negatives = int(labels.sum()), int((~labels).sum())
    if min(positives, negatives) < MIN_PER_CLASS:
        lacking = " and ".join(
            f"{MIN_PER_CLASS - found} more {name}"
            for found, name in ((positives, "violations"), (negatives, "allowed cases"))
            if found < MIN_PER_CLASS
        )
        raise ConfigError(
            f"weights cannot be fitted on {positives} violations and {negatives} allowed cases that are judged in full",
            remedy=f"at least {lacking} are needed",
        )


def _by_projection(start: FloatArray, problem: _Problem) -> FloatArray:
    """The minimum over coefficients none of which is negative."""
    from scipy.optimize import minimize

    bounds = [(0.0, None)] * (len(start) - 1) + [(None, None)]
    options = {"maxiter": _MOST_STEPS, "ftol": _TOLERANCE, "gtol": _TOLERANCE}
    found = minimize(_loss, start, args=tuple(problem), jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return np.asarray(found.x, dtype=np.float64)


def _by_newton(start: FloatArray, problem: _Problem) -> FloatArray:
    """The minimum over all coefficients; a few steps, each halved until the loss falls as far as it has to."""
    z, counts, penalty = problem.z, problem.counts, problem.penalty
    design = np.column_stack([z, np.ones(len(z))])
    ridge = np.diag(np.append(np.full(z.shape[1], penalty), 0.0))
    parameters, (loss, gradient) = start, _loss(start, *problem)
    for _ in range(_MOST_STEPS):
        chances = np.exp(-np.logaddexp(0.0, -(design @ parameters)))
        curvature = (design.T * (counts * chances * (1.0 - chances))) @ design + ridge
        step = np.linalg.solve(curvature, gradient)
        decrement = float(gradient @ step)
        if decrement < _TOLERANCE:
            break
        for size in _STEP_SIZES:
            following = _loss(parameters - size * step, *problem)
            if following[0] <= loss - _ARMIJO * size * decrement:
                break
        else:
            break  # as low as floating point gets
        parameters, (loss, gradient) = parameters - size * step, following
    return parameters


def _known(
    features: FloatArray, labels: BoolArray, multiplicity: Sequence[float] | FloatArray | None
) -> tuple[FloatArray, BoolArray, FloatArray]:
    x, y = np.asarray(features, dtype=np.float64), np.asarray(labels, dtype=np.bool_)
    counts = np.ones(len(y)) if multiplicity is None else np.asarray(multiplicity, dtype=np.float64)
    if x.ndim != 2 or y.shape != x.shape[:1] or counts.shape != y.shape:
        raise ValueError(f"features of shape {x.shape} need one label and one count per row, not {y.shape}")
    if np.isinf(x).any():
        raise ValueError("features must be finite, or NaN where unknown")
    known = ~np.isnan(x).any(axis=1) & (counts > 0)
    return x[known], y[known], counts[known]


def _loss(
    parameters: FloatArray,
    z: FloatArray,
    targets: FloatArray,
    counts: FloatArray,
    penalty: float,
    centre: FloatArray,
) -> tuple[float, FloatArray]:
    coefficients, intercept = parameters[:-1], parameters[-1]
    distance = coefficients - centre
    logits = z @ coefficients + intercept
    value = float(np.sum(counts * (np.logaddexp(0.0, logits) - targets * logits)))
    surplus = counts * (np.exp(-np.logaddexp(0.0, -logits)) - targets)
    gradient = np.append(z.T @ surplus + penalty * distance, surplus.sum())
    return value + penalty / 2 * float(distance @ distance), gradient
