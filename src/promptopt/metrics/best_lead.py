"""How far the best of several leads a reference, as far as chance and the choosing leave it.

The best of many was picked for its lead, so that its own interval is too narrow. White's reality check (White, "A
reality check for data snooping", Econometrica 68(5), 2000) asks instead how large the largest of all the leads would
be by chance: the bootstrap of the maximum over everybody who could have been picked.

Scores that were cross-fitted vary more than a bootstrap over cases shows, which leaves the fitted models as they are.
Nadeau and Bengio ("Inference for the generalization error", Machine Learning 52(3), 2003) enlarge the variance of a
mean over J train/test divisions by (1/J + test/train) / (1/J); for k folds that is 1 + k / (k - 1).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from promptopt.metrics.arrays import BoolArray, FloatArray
from promptopt.metrics.intervals import Groups, Interval, Metric, paired_bootstrap_leads


def best_lead(
    labels: BoolArray,
    reference: FloatArray,
    challengers: Sequence[FloatArray],
    metric: Metric,
    *,
    alpha: float,
    groups: Groups | None = None,
    spread: Sequence[float] | None = None,
    resamples: int = 2000,
) -> Interval:
    """The first challenger's lead, with an end below that allows for its having been picked among all of them.

    Args:
        labels: True for a violation, (n,).
        reference: Scores that the challengers are compared with, (n,), NaN where unjudged.
        challengers: Scores of everybody who could have been picked, the one who was first; each (n,). Rows that
            one left unjudged are left out of its leads, those that the first did of all.
        metric: From labels and scores to a number, larger being better.
        alpha: One-sided level, in (0, 0.5).
        groups: Group of each row; whole groups are drawn.
        spread: What each challenger's deviations are multiplied by, see :func:`crossfit_spread`; 1 by default.
        resamples: Number of resamples; the same call gives the same interval.

    Returns:
        The metric of the first challenger minus the reference's. Where no challenger is better than the reference,
        ``low`` is above 0 in at most about a share of ``alpha`` of samples; ``high`` is of the first alone.

    Raises:
        ValueError: No challenger, or shapes or level do not fit.
    """
    if not challengers or not 0 < alpha < 0.5:
        raise ValueError(f"{len(challengers)} challengers at a level of {alpha}")
    factors = np.ones(len(challengers)) if spread is None else np.asarray(spread, dtype=np.float64)
    leads, values = paired_bootstrap_leads(labels, reference, challengers, metric, groups=groups, resamples=resamples)
    chance = (values - leads[:, np.newaxis]) * factors[:, np.newaxis]
    chance = chance[:, ~np.isnan(chance[0])]
    dropped, first = resamples - chance.shape[1], float(leads[0])
    if not chance.size:
        return Interval(point=first, low=float("nan"), high=float("nan"), level=1 - 2 * alpha, dropped=dropped)
    low = first - float(np.quantile(np.nanmax(chance, axis=0), 1 - alpha))
    high = first - float(np.quantile(chance[0], alpha))
    return Interval(point=first, low=low, high=max(low, high), level=1 - 2 * alpha, dropped=dropped)


def crossfit_spread(folds: int) -> float:
    """What the deviations of cross-fitted scores' metrics are to be multiplied by (Nadeau and Bengio, 2003).

    Raises:
        ValueError: Fewer than 2 folds.
    """
    if folds < 2:
        raise ValueError(f"{folds} folds")
    return float((1 + folds / (folds - 1)) ** 0.5)
