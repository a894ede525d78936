"""What verdicts cost: recall at a share of false alarms, F-beta, and misses weighted by severity."""

from __future__ import annotations

import numpy as np

from promptopt.errors import ConfigError
from promptopt.metrics.arrays import BoolArray, FloatArray, IntArray, judged_rows
from promptopt.metrics.counts import NEAR_TIE, count, rank, recall_at

SEVERITY_WEIGHTS = (1.0, 1.0, 2.0, 4.0, 8.0)
"""Cost of missing a violation by its severity 0 (unknown) to 4, in false alarms; doubling from step to step."""


def recall_at_fpr(labels: BoolArray, scores: FloatArray, ceiling: float) -> float:
    """Highest recall among thresholds that flag at most this share of the allowed cases.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged; unjudged rows are left out.
        ceiling: Highest false positive rate, in [0, 1).

    Returns:
        The recall; 0 where every threshold flags more, NaN without a judged violation or allowed case.

    Raises:
        ConfigError: The ceiling is not in [0, 1).
    """
    if not 0 <= ceiling < 1:
        raise ConfigError(f"a false positive rate of {ceiling}", remedy="give a number of at least 0 and below 1")
    y, s = judged_rows(labels, scores)
    if not y.any() or y.all():
        return float("nan")
    counts = count(y, rank(s, NEAR_TIE))
    kept = counts.false_positives <= ceiling * float((~y).sum()) + 1e-9
    return float(np.max(np.where(kept, recall_at(counts), 0.0)))


def best_f_beta(labels: BoolArray, scores: FloatArray, beta: float) -> float:
    """Largest F-beta over thresholds (van Rijsbergen, 1979): recall counts beta times as much as precision.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged; unjudged rows are left out.
        beta: Above 0.

    Returns:
        F-beta; NaN without a judged violation.

    Raises:
        ConfigError: Beta is not above 0.
    """
    if not beta > 0:
        raise ConfigError(f"a beta of {beta}", remedy="give a number above 0")
    y, s = judged_rows(labels, scores)
    if not y.any():
        return float("nan")
    counts = count(y, rank(s, NEAR_TIE))
    square = beta * beta
    flagged = counts.true_positives + counts.false_positives
    return float(np.max((1 + square) * counts.true_positives / (square * float(y.sum()) + flagged)))


def severity_cost(labels: BoolArray, scores: FloatArray, severities: IntArray) -> float:
    """Lowest cost over thresholds of misses, weighted by :data:`SEVERITY_WEIGHTS`, and of false alarms, at 1 each.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged: such a violation is missed at every threshold, and such an allowed case
            is no alarm.
        severities: 0 to 4; shape (n,).

    Returns:
        The cost as a share of what flagging nothing, or everything, costs, whichever is cheaper: below 1 the scores
        are of use, above 1 the unjudged cost more than they save. NaN where no case costs anything.
    """
    y = np.asarray(labels, dtype=np.bool_)
    weights = np.where(y, np.asarray(SEVERITY_WEIGHTS)[np.asarray(severities, dtype=np.int64)], 1.0)
    trivial = min(float(weights[y].sum()), float((~y).sum()))
    if not trivial:
        return float("nan")
    judged = ~np.isnan(scores)
    lost = float(weights[y & ~judged].sum())
    ranking = rank(np.asarray(scores, dtype=np.float64)[judged], NEAR_TIE)
    ordered, positive = weights[judged][ranking.order], y[judged][ranking.order]
    caught = np.concatenate([[0.0], np.cumsum(ordered * positive)[ranking.ends]])
    alarms = np.concatenate([[0.0], np.cumsum(ordered * ~positive)[ranking.ends]])
    at_stake = float((ordered * positive).sum())
    return (lost + float(np.min(at_stake - caught + alarms))) / trivial
