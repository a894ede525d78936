"""One probability from several judges' probabilities, and how far the judges agree.

Averaging log-odds is the logarithmic opinion pool (Genest and Zidek, "Combining probability distributions: a critique
and an annotated bibliography", 1986), averaging probabilities the linear one; the median minds a single outlier least.
Members are taken one at a time, so that a row's result does not depend on how many rows stand beside it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from promptopt.metrics.arrays import BoolArray, FloatArray
from promptopt.metrics.log_odds import CLIP, log_odds, sigmoid

Aggregate = Literal["mean_logit", "mean", "median"]
_NEAR = 1e-12  # of the whole weight: nearer to half of it is half of it


def combine(probabilities: FloatArray, weights: FloatArray, aggregate: Aggregate) -> FloatArray:
    """The judges' common probability.

    Args:
        probabilities: Of a violation; shape (cases, judges), NaN where a judge gave none.
        weights: Not negative; shape (judges,). Judges without an opinion on a case have no weight there.
        aggregate: ``mean_logit`` is the sigmoid of the weighted mean of log-odds, with probabilities clipped to
            [1e-6, 1 - 1e-6]; ``mean`` the weighted mean; ``median`` the weighted median, the middle between two where
            the weight below and above is the same.

    Returns:
        float64 of shape (cases,), between the smallest and the largest probability of each row after clipping; NaN
        where nobody of any weight has an opinion.

    Raises:
        ValueError: Shapes do not fit, or a weight is negative.
    """
    p, w = np.asarray(probabilities, dtype=np.float64), np.asarray(weights, dtype=np.float64)
    if p.ndim != 2 or w.shape != p.shape[1:] or (w < 0).any():
        raise ValueError(f"probabilities of shape {p.shape} need as many weights, none negative")
    if aggregate == "median":
        return _median(p, w)
    values = p
    if aggregate == "mean_logit":
        values = log_odds(p)
    total, whole = np.zeros(len(p)), np.zeros(len(p))
    for column, weight in zip(values.T, w, strict=True):
        heard = ~np.isnan(column)
        total += np.where(heard, weight * np.where(heard, column, 0.0), 0.0)
        whole += np.where(heard, weight, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(whole > 0, total / whole, np.nan)
    if aggregate == "mean_logit":
        mean = sigmoid(mean)
        low, high = np.clip(_extremes(p, w), CLIP, 1 - CLIP)
    else:
        low, high = _extremes(p, w)
    return np.asarray(np.clip(mean, low, high))  # rounding may step outside


def agreement(verdicts: BoolArray, heard: BoolArray, weights: FloatArray, joint: BoolArray) -> FloatArray:
    """Share of the weight that is of the joint opinion.

    Args:
        verdicts: True where a judge calls a violation; shape (cases, judges).
        heard: Where it has a verdict at all; a judge without one does not agree.
        weights: Shape (judges,).
        joint: The joint verdicts; shape (cases,).

    Returns:
        float64 of shape (cases,), in [0, 1].
    """
    share = np.zeros(len(joint))
    for column, sure, weight in zip(verdicts.T, heard.T, weights, strict=True):
        share += np.where(sure & (column == joint), weight, 0.0)
    return np.asarray(share / float(np.sum(weights)))


def _extremes(p: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The smallest and largest opinion of any weight; NaN where there is none."""
    counted = p[:, weights > 0]
    absent = np.isnan(counted)
    low = np.where(absent, np.inf, counted).min(axis=1, initial=np.inf)
    high = np.where(absent, -np.inf, counted).max(axis=1, initial=-np.inf)
    nobody = absent.all(axis=1)
    return np.where(nobody, np.nan, low), np.where(nobody, np.nan, high)


def _median(p: FloatArray, weights: FloatArray) -> FloatArray:
    order = np.argsort(p, axis=1, kind="stable")  # NaN last
    ranked = np.take_along_axis(p, order, axis=1)
    weight = np.where(np.isnan(ranked), 0.0, weights[order])
    below = np.cumsum(weight, axis=1)
    whole = below[:, -1:] if p.shape[1] else np.zeros((len(p), 1))
    lower = _first(ranked, below >= whole / 2 - _NEAR * whole, weight)
    upper = _first(ranked, below > whole / 2 + _NEAR * whole, weight)
    return np.where(whole[:, 0] > 0, (lower + upper) / 2, np.nan)


def _first(ranked: FloatArray, reached: BoolArray, weight: FloatArray) -> FloatArray:
    """In each row the first value of any weight where the condition holds."""
    at = np.argmax(reached & (weight > 0), axis=1)
    return np.asarray(np.take_along_axis(ranked, at[:, np.newaxis], axis=1)[:, 0])
