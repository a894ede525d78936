"""AUPRC estimated from a part of a fixed set of cases, and a paired test of two candidates on that part.

The part is a random draw without replacement within each label, in any proportion of the labels: each label is weighted
up to its number in the whole set. Variances are those of such a draw. They take no view on how the cases hang together
(templates, paraphrases), because the set of cases is fixed and only the draw is random. A draw that is spread over
strata and groups, as a race's is, errs less than its variance says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from promptopt.metrics.arrays import BoolArray, FloatArray
from promptopt.metrics.ranking import roc_auc


@dataclass(frozen=True, slots=True)
class Standing:
    """A candidate on the cases drawn so far.

    Attributes:
        scores: Its scores, (cases drawn,); NaN where unjudged.
        value: Its AUPRC on the whole set, as estimated; NaN without a judged violation.
        influence: What each case adds to the estimate to first order, (cases drawn,); sums to 0, 0 where unjudged.
        low: Its AUPRC if one more violation, ranked last, and one more allowed case, ranked first, had been drawn.
        high: Its AUPRC if one more violation, ranked first, and one more allowed case, ranked last, had been drawn.
        auroc: Its AUROC on the cases drawn; NaN where undefined.
    """

    scores: FloatArray
    value: float
    influence: FloatArray
    low: float
    high: float
    auroc: float


class PairedAuprc:
    """The cases drawn so far.

    Args:
        labels: True for a violation, (cases drawn,).
        positives: Violations in the whole set.
        negatives: Allowed cases in the whole set.
        least: A comparison with fewer judged cases of either label is never significant.
    """

    def __init__(self, labels: BoolArray, positives: int, negatives: int, least: int = 2) -> None:
        self._labels = labels
        self._least = max(2, least)
        self._strata = [(labels, positives), (~labels, negatives)]

    def stand(self, scores: FloatArray) -> Standing:
        """A candidate's standing.

        Raises:
            ValueError: The scores have another shape than the labels.
        """
        if scores.shape != self._labels.shape:
            raise ValueError(f"scores have shape {scores.shape}, not {self._labels.shape}")
        return self._estimate(scores, ~np.isnan(scores))

    def p_value(self, better: Standing, worse: Standing) -> float:
        """One-sided p-value of "the second has at least the first's AUPRC on the whole set".

        Delta method with a t reference; its degrees of freedom are Satterthwaite's over the two labels. AUPRC rests on
        the few cases at the top, so a draw that misses one of them looks better and surer than it is, and the plain
        test errs several times too often far out. What is tested is therefore the advantage that remains if one more
        case of either label had been drawn, which the first gets entirely wrong and the second entirely right.

        Cases that either left unjudged are left out of both. 1 where nothing can be said: no such advantage, too few
        cases, or a variance of 0.
        """
        from scipy.special import stdtr

        both = ~(np.isnan(better.scores) | np.isnan(worse.scores))
        first, second = self._on(both, better), self._on(both, worse)
        variance = squares = 0.0
        for rows, whole in self._strata:
            change = (first.influence - second.influence)[rows & both]
            if len(change) < self._least:
                return 1.0
            part = (1 - rows.sum() / whole) * len(change) * float(change.var(ddof=1))
            variance, squares = variance + part, squares + part**2 / (len(change) - 1)
        advantage = first.low - second.high
        if not advantage > 0 or squares == 0:
            return 1.0
        return float(stdtr(variance**2 / squares, -advantage / variance**0.5))

    def _on(self, rows: BoolArray, standing: Standing) -> Standing:
        return standing if np.array_equal(rows, ~np.isnan(standing.scores)) else self._estimate(standing.scores, rows)

    def _estimate(self, scores: FloatArray, rows: BoolArray) -> Standing:
        labels, judged = self._labels[rows], scores[rows]
        influence = np.zeros(len(scores))
        value, influence[rows] = auprc_influence(labels, judged, self._weights(labels))
        first, last = judged.max(initial=0.0) + 1, judged.min(initial=0.0) - 1
        more = np.append(labels, [True, False])
        weights = self._weights(more)
        low, _ = auprc_influence(more, np.append(judged, [last, first]), weights)
        high, _ = auprc_influence(more, np.append(judged, [first, last]), weights)
        return Standing(scores, value, influence, low, high, roc_auc(labels, judged))

    def _weights(self, labels: BoolArray) -> FloatArray:
        """Each label weighted up to its number in the whole set."""
        positives, negatives = (whole for _, whole in self._strata)
        seen = int(labels.sum())
        return np.where(labels, positives / max(1, seen), negatives / max(1, len(labels) - seen))


def auprc_influence(labels: BoolArray, scores: FloatArray, weights: FloatArray) -> tuple[float, FloatArray]:
    """Weighted AUPRC and its derivative along each row's weight, times that weight.

    Args:
        labels: True for a violation, (n,).
        scores: Finite, (n,); tied scores share a threshold.
        weights: Positive, (n,).

    Returns:
        The AUPRC, NaN without a violation, and the influence of each row, (n,); it sums to 0.
    """
    if not labels.any():
        return float("nan"), np.zeros(len(labels))
    order = np.argsort(-scores, kind="stable")
    positive, weight, ranked = labels[order].astype(np.float64), weights[order], scores[order]
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)  # the last row of each run of ties
    run = np.searchsorted(last, np.arange(len(ranked)))
    flagged = np.cumsum(weight)[last][run]
    precision = np.cumsum(weight * positive)[last][run] / flagged
    positives = float(weight @ positive)
    value = float(weight * positive @ precision) / positives
    # A row at or above a violation's score enters that violation's precision.
    first = np.concatenate([[0], last[:-1] + 1])[run]
    gain = np.cumsum((weight * positive / flagged)[::-1])[::-1][first]
    loss = np.cumsum((weight * positive * precision / flagged)[::-1])[::-1][first]
    influence = np.empty(len(ranked))
    influence[order] = weight * (positive * (precision - value + gain) - loss) / positives
    return value, influence
