"""Isotonic calibration, and which calibrator a set of cases can bear, as a whole and per group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np
import numpy.typing as npt
from pydantic import model_validator

from promptopt.core.model import FrozenModel
from promptopt.metrics.arrays import BoolArray, FloatArray, judged_rows
from promptopt.metrics.calibration import MIN_PER_CLASS, PlattCalibrator, fit_platt
from promptopt.metrics.counts import NEAR_TIE, rank
from promptopt.metrics.intervals import Groups

ISOTONIC_CASES = 1000
ISOTONIC_PER_CLASS = 100
_IDENTITY = (1e-6, 1 - 1e-6)


class IsotonicCalibrator(FrozenModel):
    """A rising map from score to probability, linear between knots and flat beyond them.

    Unlike Platt's it can tie scores that differ, so choose thresholds on what it gives, not on what it takes.

    Attributes:
        scores: Of the knots, rising; at least one.
        probabilities: Of the knots, never falling, in (0, 1).
        note: Why the map is the identity or flat; empty for an ordinary fit.
    """

    scores: tuple[float, ...]
    probabilities: tuple[float, ...]
    note: str = ""

    @model_validator(mode="after")
    def _rises(self) -> Self:
        x, p = np.array(self.scores), np.array(self.probabilities)
        if not len(x) or x.shape != p.shape or not np.isfinite(x).all():
            raise ValueError("scores and probabilities of the knots must pair up, and there must be one")
        if (np.diff(x) <= 0).any() or (np.diff(p) < 0).any() or not ((p > 0) & (p < 1)).all():
            raise ValueError("knots must rise in score, not fall in probability, and lie strictly between 0 and 1")
        return self

    def apply(self, scores: FloatArray) -> FloatArray:
        """Calibrated probabilities.

        Args:
            scores: Any shape. NaN stays NaN.

        Returns:
            float64 of the same shape, in (0, 1).
        """
        s = np.asarray(scores, dtype=np.float64)
        return np.asarray(np.interp(s, self.scores, self.probabilities), dtype=np.float64)


Calibrator = PlattCalibrator | IsotonicCalibrator


class GroupCalibrator(FrozenModel):
    """A calibrator per group, and one for all other groups.

    Attributes:
        pooled: Fitted on all groups together.
        own: By group, where it has enough of both labels.
    """

    pooled: Calibrator
    own: Mapping[str, Calibrator]

    def apply(self, scores: FloatArray, groups: Groups) -> FloatArray:
        """Calibrated probabilities; a group without a calibrator of its own takes the pooled one.

        Args:
            scores: Shape (n,), NaN where unjudged.
            groups: Group of each row; shape (n,).

        Returns:
            float64 of shape (n,).

        Raises:
            ValueError: Shapes differ.
        """
        s = np.asarray(scores, dtype=np.float64)
        names = _names(groups, s)
        result = self.pooled.apply(s)
        for name, calibrator in self.own.items():
            rows = names == name
            result[rows] = calibrator.apply(s[rows])
        return result


def fit_isotonic(labels: BoolArray, scores: FloatArray) -> IsotonicCalibrator:
    """Isotonic regression by pool-adjacent-violators, on Platt's smoothed targets.

    Source: Zadrozny and Elkan, "Transforming classifier scores into accurate multiclass probability estimates" (2002).
    With smoothed targets (Platt, 1999) no probability reaches 0 or 1. Scores within a few millionths of their size
    count as one.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged; unjudged rows are left out.

    Returns:
        The calibrator; the identity on [1e-6, 1 - 1e-6], with a note, when either class has fewer than 5 judged rows.

    Raises:
        ValueError: Shapes differ or a score is infinite.
    """
    from scipy.optimize import isotonic_regression

    y, s = judged_rows(labels, scores)
    positives, negatives = int(y.sum()), int((~y).sum())
    if min(positives, negatives) < MIN_PER_CLASS:
        why = f"identity: {positives} violations and {negatives} allowed, {MIN_PER_CLASS} needed"
        return IsotonicCalibrator(scores=_IDENTITY, probabilities=_IDENTITY, note=why)
    targets = np.where(y, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    ranking = rank(s, NEAR_TIE)
    starts = np.concatenate([[0], ranking.ends[:-1] + 1])
    sizes = np.diff(ranking.ends, prepend=-1).astype(np.float64)
    x = np.add.reduceat(s[ranking.order], starts)[::-1] / sizes[::-1]
    means = np.add.reduceat(targets[ranking.order], starts)[::-1] / sizes[::-1]
    fitted = np.maximum.accumulate(isotonic_regression(means, weights=sizes[::-1]).x)
    # Inside a flat stretch a knot says nothing: its neighbours have the same probability.
    knots = np.ones(len(x), dtype=np.bool_)
    knots[1:-1] = (np.diff(fitted)[:-1] > 0) | (np.diff(fitted)[1:] > 0)
    note = "flat: violations do not score above allowed cases" if fitted[0] == fitted[-1] else ""
    return IsotonicCalibrator(scores=tuple(x[knots]), probabilities=tuple(fitted[knots]), note=note)


def choose_calibrator(labels: BoolArray, scores: FloatArray) -> Calibrator:
    """Platt scaling for few cases, isotonic regression for many.

    Isotonic regression overtakes Platt scaling at about a thousand cases (Niculescu-Mizil and Caruana, "Predicting
    good probabilities with supervised learning", 2005); those had no rare class, so a hundred of each are asked too.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), in [0, 1], NaN where unjudged; unjudged rows are left out.

    Returns:
        Isotonic from 1,000 judged rows with 100 of each label, else Platt.

    Raises:
        ValueError: Shapes differ or a score is infinite.
    """
    y, s = judged_rows(labels, scores)
    many = len(y) >= ISOTONIC_CASES and min(int(y.sum()), int((~y).sum())) >= ISOTONIC_PER_CLASS
    return fit_isotonic(y, s) if many else fit_platt(y, s)


def fit_by_group(labels: BoolArray, scores: FloatArray, groups: Groups, minimum: int = 50) -> GroupCalibrator:
    """A calibrator for each group, such as a language or clause, that has enough judged rows of both labels.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), in [0, 1], NaN where unjudged; unjudged rows are left out.
        groups: Group of each row; shape (n,).
        minimum: Judged violations, and judged allowed cases, that a calibrator of its own takes.

    Returns:
        The calibrators, each chosen by :func:`choose_calibrator`.

    Raises:
        ValueError: Shapes differ, a score is infinite, or the minimum is below 5.
    """
    if minimum < MIN_PER_CLASS:
        raise ValueError(f"minimum must be at least {MIN_PER_CLASS}, not {minimum}")
    y, s = np.asarray(labels, dtype=np.bool_), np.asarray(scores, dtype=np.float64)
    pooled = choose_calibrator(y, s)
    names = _names(groups, s)
    own: dict[str, Calibrator] = {}
    for name in np.unique(names):
        rows = names == name
        kept, _ = judged_rows(y[rows], s[rows])
        if min(int(kept.sum()), int((~kept).sum())) >= minimum:
            own[str(name)] = choose_calibrator(y[rows], s[rows])
    return GroupCalibrator(pooled=pooled, own=own)


def _names(groups: Groups, scores: FloatArray) -> npt.NDArray[np.str_]:
    names = np.asarray(groups, dtype=np.str_)
    if names.shape != scores.shape:
        raise ValueError(f"groups must have shape {scores.shape}, not {names.shape}")
    return names
