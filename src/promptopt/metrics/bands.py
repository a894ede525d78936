"""Two floors at once: one threshold that keeps both, or a band between two thresholds that people judge."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from promptopt.core.model import FrozenModel
from promptopt.metrics.arrays import BoolArray, FloatArray, IntArray, judged_rows
from promptopt.metrics.certificates import (
    Certificate,
    Claim,
    Unjudged,
    certify_precision,
    certify_recall,
    count_positives,
    state,
)
from promptopt.metrics.intervals import Interval, wilson_interval


class Route(IntEnum):
    """What becomes of a case."""

    ALLOWED = 0
    VIOLATION = 1
    PEOPLE = 2


class JointCertificate(FrozenModel):
    """One threshold that keeps both floors with probability at least ``1 - delta``, or a refusal.

    Attributes:
        threshold: Scores at or above it are flagged; None in a refusal.
        delta: Shared equally by the two certificates.
        recall: At the threshold; in a refusal, at the strictest threshold that keeps the floor alone.
        precision: At the threshold; in a refusal, at the most permissive one that keeps the floor alone.
        feasible: False in a refusal.
        note: Why it is a refusal; empty otherwise.
    """

    threshold: float | None
    delta: float
    recall: Certificate
    precision: Certificate
    feasible: bool
    note: str = ""


class Band(FrozenModel):
    """Scores below ``low`` are allowed, those at or above ``high`` violate, people judge what lies between.

    Attributes:
        low: None where nothing may be allowed unseen, because no threshold's recall is certified.
        high: None where nothing may be called a violation unseen, because no threshold's precision is certified.
        delta: Probability that either floor is broken on new cases.
        recall: That violations are not allowed unseen: the share of them that score at or above ``low``.
        precision: Of what scores at or above ``high``.
        unjudged: What becomes of unjudged cases: ``"miss"`` allows them, ``"escalate"`` sends them to people.
        escalated: Share of the calibration cases that people would judge, with its Wilson interval.
        note: What could not be certified; empty where both ends are.
    """

    low: float | None
    high: float | None
    delta: float
    recall: Certificate
    precision: Certificate
    unjudged: Unjudged
    escalated: Interval
    note: str = ""

    def decide(self, scores: FloatArray) -> IntArray:
        """The :class:`Route` of each case.

        Args:
            scores: Shape (n,), NaN where unjudged.
        """
        s = np.asarray(scores, dtype=np.float64)
        blind = Route.ALLOWED if self.unjudged == "miss" else Route.PEOPLE
        return np.where(np.isnan(s), blind, route(s, self.low, self.high))


def certify(
    labels: BoolArray,
    scores: FloatArray,
    recall_floor: float,
    precision_floor: float,
    delta: float,
    *,
    unjudged: Unjudged = "miss",
    start: int | None = None,
) -> JointCertificate:
    """The most permissive threshold of certified precision, if its recall is certified too, each at ``delta / 2``.

    Every threshold up to the recall certificate's keeps the recall floor if that one does, so that the precision
    certificate's may be taken where it is no higher.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged.
        recall_floor: In (0, 1).
        precision_floor: In (0, 1).
        delta: Probability that either floor is broken, in (0, 1).
        unjudged: As in :func:`certify_recall`.
        start: As in :func:`certify_precision`.

    Raises:
        ConfigError: A floor or delta is not in (0, 1), ``unjudged`` is unknown, or the start is too small.
        ValueError: Shapes differ or a score is infinite.
    """
    recall = certify_recall(labels, scores, recall_floor, delta / 2, unjudged=unjudged)
    precision = certify_precision(labels, scores, precision_floor, delta / 2, start=start)
    threshold, note = None, "; ".join(part.note for part in (recall, precision) if part.note)
    if recall.threshold is not None and precision.threshold is not None:
        if precision.threshold <= recall.threshold:
            threshold = precision.threshold
            recall = _restated(labels, scores, threshold, recall, unjudged)
        else:
            note = (
                f"recall {recall_floor:g} needs a threshold of at most {recall.threshold:.4g}, precision "
                f"{precision_floor:g} one of at least {precision.threshold:.4g}; people must judge what lies between"
            )
    return JointCertificate(
        threshold=threshold,
        delta=delta,
        recall=recall,
        precision=precision,
        feasible=threshold is not None,
        note=note,
    )


def choose_band(
    labels: BoolArray,
    scores: FloatArray,
    recall_floor: float,
    precision_floor: float,
    delta: float,
    *,
    unjudged: Unjudged = "miss",
    start: int | None = None,
) -> Band:
    """The narrowest band whose lower end is certified for recall and whose upper end for precision.

    Where one threshold does both, the band is empty. An end that cannot be certified sends that side to people.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged.
        recall_floor: Share of violations that must not be allowed unseen, in (0, 1).
        precision_floor: Share of violations among what is flagged unseen, in (0, 1).
        delta: Probability that either floor is broken, in (0, 1); each end takes half.
        unjudged: As in :func:`certify_recall`.
        start: As in :func:`certify_precision`.

    Raises:
        ConfigError: A floor or delta is not in (0, 1), ``unjudged`` is unknown, or the start is too small.
        ValueError: Shapes differ or a score is infinite.
    """
    joint = certify(labels, scores, recall_floor, precision_floor, delta, unjudged=unjudged, start=start)
    band = Band(
        low=joint.recall.threshold,
        high=joint.precision.threshold,
        delta=delta,
        recall=joint.recall,
        precision=joint.precision,
        unjudged=unjudged,
        escalated=wilson_interval(0, 0),
        note="; ".join(part.note for part in (joint.recall, joint.precision) if part.note),
    )
    people = int(np.count_nonzero(band.decide(scores) == Route.PEOPLE))
    return band.model_copy(update={"escalated": wilson_interval(people, len(labels))})


def route(scores: FloatArray, low: float | None, high: float | None) -> IntArray:
    """Allowed below ``low``, a violation at or above ``high``, else people; NaN goes to people.

    Args:
        scores: Any shape.
        low: None allows nothing.
        high: None flags nothing.

    Returns:
        :class:`Route` values of the same shape.
    """
    allowed = np.zeros(scores.shape, dtype=np.bool_) if low is None else scores < low
    flagged = np.zeros(scores.shape, dtype=np.bool_) if high is None else scores >= high
    routes = np.where(allowed, Route.ALLOWED, np.where(flagged, Route.VIOLATION, Route.PEOPLE))
    return routes.astype(np.int64)


def _restated(
    labels: BoolArray, scores: FloatArray, threshold: float, recall: Certificate, unjudged: Unjudged
) -> Certificate:
    """A recall certificate at a threshold below its own, which it covers."""
    y, s = judged_rows(labels, scores)
    positives, blind = count_positives(labels, y, unjudged)
    misses = int(np.count_nonzero(y & (s < threshold))) + blind
    return state(Claim("recall", recall.floor, recall.delta, recall.unjudged), threshold, positives, misses)
