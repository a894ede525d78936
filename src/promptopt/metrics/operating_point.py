"""Where to cut the scores: thresholds, and what a threshold costs."""

from __future__ import annotations

from typing import Literal

import numpy as np

from promptopt.core.model import FrozenModel
from promptopt.errors import ConfigError
from promptopt.metrics.arrays import BoolArray, FloatArray, Measured, judged_rows
from promptopt.metrics.counts import (
    NEAR_TIE,
    Ranking,
    best_f1_of,
    count,
    f1_at,
    precision_at,
    rank,
    recall_at,
    recall_at_precision_of,
)

Criterion = Literal["recall_at_precision", "f1", "certified_recall", "certified_precision", "band"]
_UNFITTED_THRESHOLD = 0.5


class OperatingPoint(FrozenModel):
    """A threshold, and what it does on the rows it was chosen on.

    Attributes:
        threshold: Scores at or above it are violations.
        criterion: What it was chosen for.
        precision: Precision on the judged rows; NaN when there was nothing to choose from.
        recall: Recall on the judged rows.
        f1: F1 on the judged rows.
        feasible: False when the criterion could not be met and the threshold is a stand-in.
        note: Why it is a stand-in; empty when feasible.
    """

    threshold: float
    criterion: Criterion
    precision: Measured
    recall: Measured
    f1: Measured
    feasible: bool
    note: str = ""


class Confusion(FrozenModel):
    """Counts at one threshold; the unjudged are counted apart, never as allowed.

    The rates are over judged rows and NaN where their denominator is 0.
    """

    tp: int
    fp: int
    tn: int
    fn: int
    unjudged_positive: int
    unjudged_negative: int

    @property
    def precision(self) -> float:
        return _rate(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return _rate(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float:
        return _rate(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def accuracy(self) -> float:
        return _rate(self.tp + self.tn, self.tp + self.fp + self.tn + self.fn)


def choose_threshold(
    labels: BoolArray, scores: FloatArray, criterion: Criterion, precision_floor: float = 0.8
) -> OperatingPoint:
    """Chooses the threshold that serves the criterion best on these rows.

    ``recall_at_precision`` takes the highest recall among thresholds whose precision reaches the floor; where none
    does, the point of highest F1 stands in, marked infeasible. Thresholds lie midway between neighbouring scores, and
    scores that differ by less than a few millionths of their size are never parted, so that rounding in the judge
    flips no verdict.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged; unjudged rows are left out.
        criterion: What to serve.
        precision_floor: In (0, 1]; used by ``recall_at_precision``.

    Returns:
        The operating point; without a judged violation its rates are NaN, its threshold 0.5, and it is infeasible.

    Raises:
        ConfigError: The floor is not in (0, 1], or the criterion is unknown.
    """
    _check_floor(precision_floor)
    if criterion not in ("recall_at_precision", "f1"):
        raise ConfigError(f"unknown criterion {criterion!r}", remedy="use recall_at_precision or f1")
    y, s = judged_rows(labels, scores)
    if not y.any():
        nan, why = float("nan"), f"none of {len(y)} judged cases is a violation"
        return OperatingPoint(
            threshold=_UNFITTED_THRESHOLD,
            criterion=criterion,
            precision=nan,
            recall=nan,
            f1=nan,
            feasible=False,
            note=why,
        )
    ranking = rank(s, NEAR_TIE)
    counts = count(y, ranking)
    precision, recall, f1 = precision_at(counts), recall_at(counts), f1_at(counts)
    note = ""
    best = int(np.argmax(f1))
    if criterion == "recall_at_precision":
        reached = precision >= precision_floor
        if reached.any():
            best = int(np.argmax(np.where(reached, recall, -1.0)))
        else:
            note = (
                f"no threshold reaches precision {precision_floor:g} (best {precision.max():.3f}); highest F1 instead"
            )
    return OperatingPoint(
        threshold=_midway(s[ranking.order], ranking, best),
        criterion=criterion,
        precision=float(precision[best]),
        recall=float(recall[best]),
        f1=float(f1[best]),
        feasible=not note,
        note=note,
    )


def recall_at_precision(labels: BoolArray, scores: FloatArray, floor: float) -> float:
    """Highest recall among thresholds with precision >= floor.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged; unjudged rows are left out.
        floor: In (0, 1].

    Returns:
        The recall of :func:`choose_threshold`'s feasible point; 0.0 when no threshold reaches the floor, NaN without
        a judged positive.

    Raises:
        ConfigError: The floor is not in (0, 1].
    """
    _check_floor(floor)
    y, s = judged_rows(labels, scores)
    return float(recall_at_precision_of(count(y, rank(s, NEAR_TIE)), floor))


def best_f1(labels: BoolArray, scores: FloatArray) -> float:
    """Largest F1 over thresholds; NaN without a judged positive. Arguments as :func:`recall_at_precision`."""
    y, s = judged_rows(labels, scores)
    return float(best_f1_of(count(y, rank(s, NEAR_TIE))))


def confusion(labels: BoolArray, scores: FloatArray, threshold: float) -> Confusion:
    """Counts verdicts at a threshold.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged.
        threshold: Scores at or above it are violations.
    """
    y, s = judged_rows(labels, scores)
    gold = np.asarray(labels, dtype=np.bool_)
    flagged = s >= threshold
    positives = int(y.sum())
    tp = int((flagged & y).sum())
    fp = int((flagged & ~y).sum())
    return Confusion(
        tp=tp,
        fp=fp,
        tn=len(y) - positives - fp,
        fn=positives - tp,
        unjudged_positive=int(gold.sum()) - positives,
        unjudged_negative=int((~gold).sum()) - (len(y) - positives),
    )


def _midway(ranked: FloatArray, ranking: Ranking, chosen: int) -> float:
    """Halfway between the lowest flagged score and the next; below the lowest score when everything is flagged."""
    lowest = float(ranked[ranking.ends[chosen]])
    if chosen + 1 < len(ranking.ends):
        return (lowest + float(ranked[ranking.ends[chosen] + 1])) / 2
    return lowest / 2 if lowest >= 0 else lowest - 1.0


def _check_floor(floor: float) -> None:
    if not 0 < floor <= 1:
        raise ConfigError(f"a precision floor of {floor} cannot be met", remedy="give a number above 0 and at most 1")


def _rate(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
