"""The threshold that best tells two classes apart, however often either occurs."""

from __future__ import annotations

import numpy as np

from promptopt.metrics.arrays import BoolArray, FloatArray, judged_rows
from promptopt.metrics.counts import NEAR_TIE, count, rank


def best_youden(labels: BoolArray, scores: FloatArray) -> tuple[float, float]:
    """The threshold of the largest sum of sensitivity and specificity.

    Source: Youden, "Index for rating diagnostic tests" (1950).

    Args:
        labels: Shape (n,).
        scores: Shape (n,), NaN where unjudged; unjudged rows are left out.

    Returns:
        The threshold, midway between neighbouring scores, and Youden's J there, in [0, 1]; (0.5, 0.0) where no
        threshold between two scores tells anything.
    """
    y, s = judged_rows(labels, scores)
    ranking = rank(s, NEAR_TIE)
    if not y.any() or y.all() or len(ranking.ends) < 2:
        return 0.5, 0.0
    counts = count(y, ranking)
    youden = counts.true_positives / float(y.sum()) - counts.false_positives / float((~y).sum())
    at = int(np.argmax(youden[:-1]))  # below the lowest score everything is flagged
    if youden[at] <= 0:
        return 0.5, 0.0
    ordered = s[ranking.order]
    end = int(ranking.ends[at])
    return float(ordered[end] + ordered[end + 1]) / 2, float(youden[at])
