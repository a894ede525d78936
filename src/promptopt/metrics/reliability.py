"""Whether probabilities mean what they say: reliability diagram, adaptive calibration error, the parts of Brier."""

from __future__ import annotations

from typing import Literal

import numpy as np

from promptopt.core.model import FrozenModel
from promptopt.metrics.arrays import BoolArray, FloatArray, IntArray, Measured, judged_rows
from promptopt.metrics.intervals import Interval, wilson_interval

Binning = Literal["width", "mass"]


class ReliabilityBin(FrozenModel):
    """One point of a reliability diagram.

    Attributes:
        lowest: Lowest probability in the bin.
        highest: Highest probability in the bin.
        predicted: Mean probability.
        observed: Share of violations, with its Wilson interval.
        count: Judged rows; at least 1.
    """

    lowest: float
    highest: float
    predicted: float
    observed: Interval
    count: int


class BrierDecomposition(FrozenModel):
    """Brier score = reliability - resolution + uncertainty + within.

    Attributes:
        brier: The score; NaN, like the rest, without judged rows.
        reliability: Mean squared distance of probability from frequency; 0 is best.
        resolution: Mean squared distance of the bins' frequencies from the overall one; higher is better.
        uncertainty: Variance of the label, which no judge can change.
        within: What binning hides: variance of the probabilities inside bins less twice their covariance with the
            label; 0 where each distinct probability is its own bin.
    """

    brier: Measured
    reliability: Measured
    resolution: Measured
    uncertainty: Measured
    within: Measured


def reliability(
    labels: BoolArray,
    probabilities: FloatArray,
    bins: int = 10,
    *,
    binning: Binning = "width",
    level: float = 0.95,
) -> list[ReliabilityBin]:
    """The points of a reliability diagram, by rising probability.

    Args:
        labels: True for a violation; shape (n,).
        probabilities: Shape (n,), in [0, 1], NaN where unjudged; unjudged rows are left out.
        bins: Number of bins; empty ones are left out.
        binning: ``"width"`` for bins of equal width, ``"mass"`` for bins of about equally many rows; equal
            probabilities share a bin.
        level: Confidence level of the intervals, in (0, 1).

    Returns:
        One entry for each bin that holds a judged row.

    Raises:
        ValueError: Shapes differ, a probability is outside [0, 1], fewer than one bin, unknown binning, unfit level.
    """
    y, p = _probabilities(labels, probabilities)
    place = _places(p, bins, binning)
    return [
        ReliabilityBin(
            lowest=float(p[rows].min()),
            highest=float(p[rows].max()),
            predicted=float(p[rows].mean()),
            observed=wilson_interval(int(y[rows].sum()), int(rows.sum()), level),
            count=int(rows.sum()),
        )
        for rows in (place == number for number in np.unique(place))
    ]


def adaptive_calibration_error(labels: BoolArray, probabilities: FloatArray, bins: int = 10) -> float:
    """Mean distance of probability from frequency over bins of equal mass, weighted by their rows.

    Bins of equal width leave most of a skewed judge's rows in one bin (Nixon et al., "Measuring calibration in deep
    learning", 2019).

    Args:
        labels: True for a violation; shape (n,).
        probabilities: Shape (n,), in [0, 1], NaN where unjudged; unjudged rows are left out.
        bins: Number of bins.

    Returns:
        A number in [0, 1], or NaN without judged rows.

    Raises:
        ValueError: Shapes differ, a probability is outside [0, 1], or fewer than one bin.
    """
    y, p = _probabilities(labels, probabilities)
    place = _places(p, bins, "mass")
    return float(np.abs(np.bincount(place, weights=p - y)).sum() / len(p)) if len(p) else float("nan")


def brier_decomposition(labels: BoolArray, probabilities: FloatArray, bins: int | None = None) -> BrierDecomposition:
    """The parts of the Brier score.

    Source: Murphy, "A new vector partition of the probability score" (1973), exact where each distinct probability is
    a bin; the part within bins is that of Stephenson, Coelho and Jolliffe, "Two extra components in the Brier score
    decomposition" (2008).

    Args:
        labels: True for a violation; shape (n,).
        probabilities: Shape (n,), in [0, 1], NaN where unjudged; unjudged rows are left out.
        bins: Number of bins of equal mass; None makes each distinct probability a bin, which tells something only
            where few are distinct.

    Raises:
        ValueError: Shapes differ, a probability is outside [0, 1], or fewer than one bin.
    """
    y, p = _probabilities(labels, probabilities)
    n = len(p)
    if not n:
        nan = float("nan")
        return BrierDecomposition(brier=nan, reliability=nan, resolution=nan, uncertainty=nan, within=nan)
    place = np.unique(p, return_inverse=True)[1] if bins is None else _places(p, bins, "mass")
    sizes = np.maximum(np.bincount(place), 1)
    predicted, observed = np.bincount(place, weights=p) / sizes, np.bincount(place, weights=y) / sizes
    base = float(y.mean())
    spread = p - predicted[place]
    return BrierDecomposition(
        brier=float(np.mean((p - y) ** 2)),
        reliability=float(np.mean((predicted - observed)[place] ** 2)),
        resolution=float(np.mean((observed[place] - base) ** 2)),
        uncertainty=base * (1 - base),
        within=float(np.mean(spread**2) - 2 * np.mean(spread * (y - observed[place]))),
    )


def _probabilities(labels: BoolArray, probabilities: FloatArray) -> tuple[BoolArray, FloatArray]:
    y, p = judged_rows(labels, probabilities)
    if ((p < 0) | (p > 1)).any():
        raise ValueError("probabilities must lie in [0, 1], or be NaN where unjudged")
    return y, p


def _places(p: FloatArray, bins: int, binning: Binning) -> IntArray:
    """The bin of each row; shape (n,)."""
    if bins < 1:
        raise ValueError(f"bins must be at least 1, not {bins}")
    if binning == "width":
        return np.clip((p * bins).astype(np.int64), 0, bins - 1)
    if binning != "mass":
        raise ValueError(f"binning must be width or mass, not {binning!r}")
    # Equal probabilities go by the middle of their run, so that none is split.
    distinct, run, sizes = np.unique(p, return_inverse=True, return_counts=True)
    middle = np.cumsum(sizes) - (sizes + 1) / 2 if len(distinct) else np.zeros(0)
    return np.asarray((middle * bins / max(1, len(p))).astype(np.int64)[run], dtype=np.int64)
