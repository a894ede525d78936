"""Metrics as functions of the true and false positives at each threshold.

Written once on arrays of shape (..., thresholds), each formula serves a single score vector and, with integer resample
weights, all resamples of a bootstrap at once: the scores are sorted a single time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from promptopt.metrics.arrays import BoolArray, FloatArray, IntArray

NEAR_TIE = 4e-6
"""Scores nearer than this share of their size share a threshold: half the gap exceeds a relative error of 1e-6."""


class Ranking(NamedTuple):
    """Rows by falling score, and where each run of tied scores ends.

    Attributes:
        order: Row numbers by falling score; shape (n,).
        ends: Position in ``order`` of the last row of each run; shape (thresholds,).
    """

    order: IntArray
    ends: IntArray


class ThresholdCounts(NamedTuple):
    """Flagged rows at each threshold, the strictest first; float64 of shape (..., thresholds)."""

    true_positives: FloatArray
    false_positives: FloatArray


class CountForm(NamedTuple):
    """A metric in the form that takes counts, and how near two scores may be to count as tied."""

    function: Callable[[ThresholdCounts], FloatArray]
    near_tie: float


def rank(scores: FloatArray, near_tie: float = 0.0) -> Ranking:
    """Sorts finite scores once.

    Args:
        scores: Finite; shape (n,).
        near_tie: Neighbours nearer than this share of the larger magnitude share a threshold; 0 for exact ties only.
    """
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    gaps = ranked[:-1] - ranked[1:]
    sizes = np.maximum(np.abs(ranked[:-1]), np.abs(ranked[1:]))
    cuts = np.flatnonzero(gaps > near_tie * sizes)
    last = [len(scores) - 1] if len(scores) else []
    return Ranking(order, np.concatenate([cuts, last]).astype(np.int64))


def count(labels: BoolArray, ranking: Ranking, weights: FloatArray | None = None) -> ThresholdCounts:
    """Counts true and false positives at every threshold.

    Args:
        labels: Shape (n,).
        ranking: From :func:`rank` of the n scores.
        weights: How often each row occurs; shape (..., n), or None for once each.
    """
    ranked = labels[ranking.order].astype(np.float64)
    flagged = np.ones_like(ranked) if weights is None else weights[..., ranking.order]
    positives = np.cumsum(flagged * ranked, axis=-1)[..., ranking.ends]
    return ThresholdCounts(positives, np.cumsum(flagged, axis=-1)[..., ranking.ends] - positives)


def average_precision_of(counts: ThresholdCounts) -> FloatArray:
    """Sum of precision times the rise in recall (scikit-learn's step-wise area); NaN without positives."""
    true_positives, false_positives = counts
    precision = _ratio(true_positives, true_positives + false_positives)
    rise = np.diff(true_positives, axis=-1, prepend=0.0)
    return _or_nan(_ratio(np.sum(precision * rise, axis=-1), _last(true_positives)), _last(true_positives) > 0)


def roc_auc_of(counts: ThresholdCounts) -> FloatArray:
    """Area under the ROC curve by trapezoids (ties count half); NaN when a class is absent."""
    true_positives, false_positives = counts
    rise = np.diff(true_positives, axis=-1, prepend=0.0)
    run = np.diff(false_positives, axis=-1, prepend=0.0)
    area = np.sum(run * (true_positives - rise / 2), axis=-1)
    cells = _last(true_positives) * _last(false_positives)
    return _or_nan(_ratio(area, cells), cells > 0)


def best_f1_of(counts: ThresholdCounts) -> FloatArray:
    """Largest F1 over the thresholds; NaN without positives."""
    positives = _last(counts.true_positives)
    return _or_nan(np.max(f1_at(counts), axis=-1, initial=0.0), positives > 0)


def recall_at_precision_of(counts: ThresholdCounts, floor: float) -> FloatArray:
    """Largest recall among thresholds with precision >= floor; 0 when none has it, NaN without positives."""
    positives = _last(counts.true_positives)
    reached = np.where(precision_at(counts) >= floor, counts.true_positives, 0.0)
    return _or_nan(_ratio(np.max(reached, axis=-1, initial=0.0), positives), positives > 0)


def precision_at(counts: ThresholdCounts) -> FloatArray:
    """Precision at each threshold; 0 where nothing is flagged."""
    return _ratio(counts.true_positives, counts.true_positives + counts.false_positives)


def recall_at(counts: ThresholdCounts) -> FloatArray:
    """Recall at each threshold; 0 without positives."""
    return _ratio(counts.true_positives, _last(counts.true_positives)[..., np.newaxis])


def f1_at(counts: ThresholdCounts) -> FloatArray:
    """F1 at each threshold; 0 without positives."""
    positives = _last(counts.true_positives)[..., np.newaxis]
    return _ratio(2 * counts.true_positives, counts.true_positives + counts.false_positives + positives)


def _last(values: FloatArray) -> FloatArray:
    return values[..., -1] if values.shape[-1] else np.zeros(values.shape[:-1])


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    return np.asarray(numerator / np.where(denominator > 0, denominator, 1.0), dtype=np.float64)


def _or_nan(values: FloatArray, defined: BoolArray) -> FloatArray:
    return np.where(defined, values, np.nan)
