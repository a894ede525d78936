"""How well scores put violations above the rest, whatever the threshold."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from promptopt.metrics.arrays import BoolArray, FloatArray, judged_rows
from promptopt.metrics.counts import average_precision_of, count, precision_at, rank, recall_at, roc_auc_of


class PrecisionRecallCurve(NamedTuple):
    """Precision and recall at each distinct score, laid out as scikit-learn does.

    Attributes:
        precision: float64 of shape (thresholds + 1,); the last entry, 1, is the point where nothing is flagged.
        recall: float64 of shape (thresholds + 1,), falling to 0 in the last entry; NaN without positives.
        thresholds: Distinct scores, rising; shape (thresholds,).
    """

    precision: FloatArray
    recall: FloatArray
    thresholds: FloatArray


def average_precision(labels: BoolArray, scores: FloatArray) -> float:
    """Area under the precision-recall curve as a step function (AUPRC).

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged; unjudged rows are left out, tied scores share a threshold.

    Returns:
        A number in (0, 1], or NaN without a judged positive.
    """
    y, s = judged_rows(labels, scores)
    return float(average_precision_of(count(y, rank(s))))


def roc_auc(labels: BoolArray, scores: FloatArray) -> float:
    """Probability that a violation scores above an allowed case, ties counting half.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged; unjudged rows are left out.

    Returns:
        A number in [0, 1], or NaN unless both classes have a judged row.
    """
    y, s = judged_rows(labels, scores)
    return float(roc_auc_of(count(y, rank(s))))


def precision_recall_curve(labels: BoolArray, scores: FloatArray) -> PrecisionRecallCurve:
    """Precision and recall at every distinct score.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged; unjudged rows are left out.

    Returns:
        The curve; without judged rows it holds one NaN point and no threshold.
    """
    y, s = judged_rows(labels, scores)
    if not len(s):
        nothing = np.array([np.nan])
        return PrecisionRecallCurve(nothing, nothing.copy(), np.array([]))
    ranking = rank(s)
    counts = count(y, ranking)
    recall = recall_at(counts) if y.any() else np.full(len(ranking.ends), np.nan)
    return PrecisionRecallCurve(
        precision=np.append(precision_at(counts)[::-1], 1.0),
        recall=np.append(recall[::-1], 0.0 if y.any() else np.nan),
        thresholds=s[ranking.order][ranking.ends][::-1],
    )
