"""The decision of the promotion gate in words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from promptopt.pipeline.promotion_gate import (
    PRIMARY,
    GateSettings,
    MetricComparison,
    PromotionOutcome,
    VerdictComparison,
)
from promptopt.pipeline.promotion_slices import SliceComparison

_METRICS = {
    "auprc": "AUPRC",
    "recall_at_precision": "recall at precision {floor:g}",
    "recall": "recall at threshold",
    "precision": "precision at threshold",
    "f1": "F1 at threshold",
}
_VERDICTS = {"all": "all cases", "violations": "violations", "allowed": "allowed cases"}


def metric_label(name: str, precision_floor: float) -> str:
    """What people call a gated metric."""
    return _METRICS[name].format(floor=precision_floor)


def verdict_label(name: str) -> str:
    """What people call the cases of a McNemar test."""
    return _VERDICTS[name]


def reasons_for(
    outcome: PromotionOutcome,
    metrics: Sequence[MetricComparison],
    verdicts: Sequence[VerdictComparison],
    slices: Sequence[SliceComparison],
    settings: GateSettings,
    groups: int,
) -> tuple[list[str], list[str]]:
    """What the outcome rests on, and what stands in the way of promotion besides it.

    Args:
        outcome: The outcome.
        metrics: The gated metrics; significant losses are named.
        verdicts: McNemar's tests; a significant loss stands in the way.
        slices: Critical slices; a significant loss or a floor that is missed stands in the way.
        settings: How the gate decided.
        groups: Groups of cases.

    Returns:
        Reasons, the decisive one first, and obstacles.
    """
    alpha = settings.alpha
    primary = next(metric for metric in metrics if metric.name == PRIMARY)
    losses = [metric for metric in metrics if metric is not primary and metric.lower(alpha)]
    if outcome is PromotionOutcome.WORSE and not primary.lower(alpha):
        losses.sort(key=lambda metric: metric.name != "f1")  # which is what decided
    reasons = [_significant(metric, settings) for metric in losses]
    reasons.insert(
        0 if primary.lower(alpha) or outcome is not PromotionOutcome.WORSE else 1, _primary(primary, settings)
    )
    if _out_of_reach(metrics, groups, alpha):
        reasons.append(f"{groups} groups of cases are too few for any difference to be significant")
    obstacles = [
        f"significantly fewer {verdict_label(verdict.name)} are judged right: {verdict.test.gained} gained, "
        f"{verdict.test.lost} lost, Holm {_p(verdict.adjusted_p)}"
        for verdict in verdicts
        if verdict.lost(alpha)
    ]
    for part in slices:
        if part.regressed:
            obstacles.append(
                f"the slice {part.slice} regressed: of {part.violations} violations {part.gained} gained, "
                f"{part.lost} lost, {_p(part.p_loss)}"
            )
        if part.below_floor:
            obstacles.append(f"recall on {part.slice} is {part.winner.point:.3f}, {part.floor:g} is asked for")
    return reasons, obstacles


def _significant(metric: MetricComparison, settings: GateSettings) -> str:
    way = "higher" if metric.difference.point > 0 else "lower"
    return f"{metric_label(metric.name, settings.precision_floor)} is significantly {way} ({_size(metric)})"


def _primary(metric: MetricComparison, settings: GateSettings) -> str:
    if metric.higher(settings.alpha) or metric.lower(settings.alpha):
        return _significant(metric, settings)
    name = metric_label(metric.name, settings.precision_floor)
    if math.isnan(metric.p):
        return f"{name} cannot be compared: no violation was judged by both"
    return f"{name} does not differ significantly ({_size(metric)})"


def _size(metric: MetricComparison) -> str:
    return f"{metric.difference.point:+.3f}, Holm {_p(metric.adjusted_p)}"


def _p(value: float) -> str:
    return "p < 0.0001" if value < 1e-4 else f"p {value:.4f}"


def _out_of_reach(metrics: Sequence[MetricComparison], groups: int, alpha: float) -> bool:
    """Whether the smallest p-value that so few swaps can give is above what Holm asks of the first metric."""
    tested = sum(not math.isnan(metric.p) for metric in metrics)
    return groups < 60 and tested * 2.0 ** (1 - groups) > alpha
