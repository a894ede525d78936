"""The statistics of the promotion gate: is the winner better than the incumbent, on cases that neither has seen?

*Better* means that AUPRC, the primary metric, is significantly higher and no gated metric is significantly lower.
*Worse* means that AUPRC is significantly lower, or F1 at the thresholds is while AUPRC is not significantly higher.
Everything else is *no significant difference*, a gain in AUPRC that comes with a significant loss elsewhere included.
Recall and precision cannot make a winner worse by themselves: two copies of one prompt whose thresholds fall a little
apart differ in both, the one for the other. A threshold that fell so badly that F1 suffers can: bundles are compared
as they would be deployed.
Significant means a Holm-adjusted p-value of at most alpha, two-sided, over the five gated metrics. Where the judges are
exchangeable, *better* is said in at most alpha / 2 of all comparisons.

An unjudged case has no place in a ranking: AUPRC and recall at a precision floor are measured on the cases that both
have judged. For verdicts *no verdict* is never right: an unjudged violation is missed, an unjudged allowed case is not
allowed. Silence on cases that are hard to rank may flatter a ranking; it is the verdicts that it costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from statistics import NormalDist

import numpy as np
from pydantic import Field

from promptopt.core.model import FrozenModel
from promptopt.metrics.arrays import BoolArray, FloatArray, Measured
from promptopt.metrics.counts import NEAR_TIE, CountForm, average_precision_of, recall_at_precision_of
from promptopt.metrics.intervals import Interval, Metric, paired_bootstrap_difference
from promptopt.metrics.operating_point import confusion, recall_at_precision
from promptopt.metrics.ranking import average_precision
from promptopt.metrics.significance import (
    DEFAULT_PERMUTATIONS,
    McNemarTest,
    PairedTest,
    f1_of,
    holm,
    mcnemar,
    paired_ranking_test,
    paired_verdict_test,
    precision_of,
    recall_of,
)
from promptopt.metrics.winners_curse import estimate_given_significance

PRIMARY = "auprc"
_NAN = float("nan")


class PromotionOutcome(StrEnum):
    """What the gate says of the winner."""

    BETTER = "better"
    NO_DIFFERENCE = "no significant difference"
    WORSE = "worse"


class GateSettings(FrozenModel):
    """How the gate decides.

    Attributes:
        alpha: Chance of error that significance allows; intervals hold 1 - alpha.
        precision_floor: Precision that recall is measured at.
        permutations: Swaps per permutation test.
        resamples: Bootstrap resamples per interval; 0 for no intervals.
        seed: Seed of both.
    """

    alpha: float = Field(default=0.05, gt=0.0, lt=0.5)
    precision_floor: float = Field(default=0.8, gt=0.0, le=1.0)
    permutations: int = Field(default=DEFAULT_PERMUTATIONS, ge=1)
    resamples: int = Field(default=2000, ge=0)
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Side:
    """What one judge says of the cases; every array has shape (cases,).

    Attributes:
        scores: Higher means more likely a violation; NaN where unjudged.
        flagged: The verdict is violation.
        judged: There is a verdict.
    """

    scores: FloatArray
    flagged: BoolArray
    judged: BoolArray


@dataclass(frozen=True, slots=True)
class Pair:
    """Two judges on the same cases.

    Attributes:
        labels: True for a violation; shape (cases,).
        groups: Group of each case.
        incumbent: The judge in use.
        winner: The judge that would replace it.
    """

    labels: BoolArray
    groups: Sequence[str]
    incumbent: Side
    winner: Side


class MetricComparison(FrozenModel):
    """A gated metric of both judges.

    Attributes:
        name: ``auprc``, ``recall_at_precision``, or ``recall``, ``precision`` or ``f1`` at each judge's own threshold.
        incumbent: Its value.
        winner: Its value.
        difference: Winner minus incumbent; paired bootstrap over groups.
        p: Two-sided p-value of the paired permutation test, groups swapped whole; NaN where undefined.
        adjusted_p: The same after Holm over all gated metrics.
    """

    name: str
    incumbent: Measured
    winner: Measured
    difference: Interval
    p: Measured
    adjusted_p: Measured

    def higher(self, alpha: float) -> bool:
        """True when the winner is significantly higher."""
        return self.adjusted_p <= alpha and self.difference.point > 0

    def lower(self, alpha: float) -> bool:
        """True when the winner is significantly lower."""
        return self.adjusted_p <= alpha and self.difference.point < 0


class VerdictComparison(FrozenModel):
    """McNemar's exact test on which cases each judge gets right.

    Attributes:
        name: ``all`` cases, ``violations`` (recall) or ``allowed`` (specificity).
        test: The test; the incumbent is its first judge.
        adjusted_p: Exact p-value after Holm over the three.
    """

    name: str
    test: McNemarTest
    adjusted_p: float

    def lost(self, alpha: float) -> bool:
        """True when the winner is right significantly less often."""
        return self.adjusted_p <= alpha and self.test.lost > self.test.gained


class Estimates(FrozenModel):
    """The difference in AUPRC, three ways.

    Attributes:
        search: On the search split, as the sweeps that made the bundles measured it. The winner was chosen there for
            being large, so it promises too much. NaN where the bundles do not tell, or have another golden set.
        test: On the sealed test; unbiased, whatever comes of it.
        given_significance: The test's, corrected for being looked at because it was significant (Zhong and Prentice,
            2008); None where it was not.
        critical: Standard errors that it took to be significant; None where it was not.
    """

    search: Measured
    test: Interval
    given_significance: Interval | None
    critical: float | None


def compare_metrics(pair: Pair, settings: GateSettings) -> tuple[MetricComparison, ...]:
    """Tests the gated metrics.

    Args:
        pair: Both judges.
        settings: How.

    Returns:
        One comparison a metric, the primary first.
    """
    floor = settings.precision_floor
    incumbent, winner = pair.incumbent, pair.winner
    ranked = partial(paired_ranking_test, groups=pair.groups, permutations=settings.permutations, seed=settings.seed)
    decided = partial(paired_verdict_test, groups=pair.groups, permutations=settings.permutations, seed=settings.seed)
    found: dict[str, tuple[PairedTest, Interval]] = {}
    for name, form, metric in (
        (PRIMARY, CountForm(average_precision_of, 0.0), average_precision),
        (
            "recall_at_precision",
            CountForm(partial(recall_at_precision_of, floor=floor), NEAR_TIE),
            partial(recall_at_precision, floor=floor),
        ),
    ):
        tested = ranked(pair.labels, incumbent.scores, winner.scores, form)
        found[name] = tested, _interval(pair, incumbent.scores, winner.scores, metric, settings)
    flags = incumbent.flagged.astype(np.float64), winner.flagged.astype(np.float64)
    for name, of_counts in (("recall", recall_of), ("precision", precision_of), ("f1", f1_of)):
        tested = decided(pair.labels, incumbent.flagged, winner.flagged, of_counts)
        found[name] = tested, _interval(pair, *flags, partial(_rate, name=name), settings)
    adjusted = holm([tested.p for tested, _ in found.values()])
    return tuple(
        MetricComparison(
            name=name,
            incumbent=tested.a,
            winner=tested.b,
            difference=interval.model_copy(update={"point": tested.difference}),
            p=tested.p,
            adjusted_p=p,
        )
        for (name, (tested, interval)), p in zip(found.items(), adjusted, strict=True)
    )


def compare_verdicts(pair: Pair) -> tuple[VerdictComparison, ...]:
    """McNemar's test on all cases, on violations and on allowed cases."""
    right = [side.judged & (side.flagged == pair.labels) for side in (pair.incumbent, pair.winner)]
    parts = {"all": np.ones_like(pair.labels), "violations": pair.labels, "allowed": ~pair.labels}
    tests = {name: mcnemar(right[0][rows], right[1][rows]) for name, rows in parts.items()}
    adjusted = holm([test.p for test in tests.values()])
    return tuple(
        VerdictComparison(name=name, test=test, adjusted_p=p)
        for (name, test), p in zip(tests.items(), adjusted, strict=True)
    )


def outcome_of(metrics: Sequence[MetricComparison], alpha: float) -> PromotionOutcome:
    """The outcome, as the head of this module defines it."""
    by_name = {metric.name: metric for metric in metrics}
    gained = by_name[PRIMARY].higher(alpha)
    if gained and not any(metric.lower(alpha) for metric in metrics):
        return PromotionOutcome.BETTER
    if by_name[PRIMARY].lower(alpha) or (by_name["f1"].lower(alpha) and not gained):
        return PromotionOutcome.WORSE
    return PromotionOutcome.NO_DIFFERENCE


def estimate(metrics: Sequence[MetricComparison], search: float, alpha: float) -> Estimates:
    """The difference in the primary metric with what is known of its bias.

    Args:
        metrics: From :func:`compare_metrics`.
        search: The difference on the search split, or NaN.
        alpha: The gate's alpha.
    """
    primary = next(metric for metric in metrics if metric.name == PRIMARY)
    test = primary.difference
    if not primary.adjusted_p <= alpha or not np.isfinite(test.low):
        return Estimates(search=search, test=test, given_significance=None, critical=None)
    ordered = sorted(metric.p for metric in metrics if not np.isnan(metric.p))
    level_at_its_step = alpha / (len(ordered) - ordered.index(primary.p))
    normal = NormalDist()
    error = (test.high - test.low) / (2 * normal.inv_cdf(0.5 + test.level / 2))
    critical = normal.inv_cdf(1 - level_at_its_step / 2)
    if error > 0:  # the permutation test may pass what the normal approximation would not
        critical = min(critical, abs(test.point) / error)
    corrected = estimate_given_significance(test.point, error, critical, test.level)
    return Estimates(search=search, test=test, given_significance=corrected, critical=critical)


def _interval(
    pair: Pair, incumbent: FloatArray, winner: FloatArray, metric: Metric, settings: GateSettings
) -> Interval:
    level = 1 - settings.alpha
    if not settings.resamples:
        return Interval(point=_NAN, low=_NAN, high=_NAN, level=level)
    return paired_bootstrap_difference(
        pair.labels,
        incumbent,
        winner,
        metric,
        groups=pair.groups,
        resamples=settings.resamples,
        level=level,
        seed=settings.seed,
    )


def _rate(labels: BoolArray, flags: FloatArray, *, name: str) -> float:
    return float(getattr(confusion(labels, flags, 0.5), name))
