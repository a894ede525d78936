"""How sure a measured number is: bootstrap and binomial intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from promptopt.core.model import FrozenModel
from promptopt.metrics.arrays import BoolArray, FloatArray, IntArray, Measured, judged_rows
from promptopt.metrics.counts import (
    NEAR_TIE,
    CountForm,
    average_precision_of,
    best_f1_of,
    count,
    rank,
    recall_at_precision_of,
    roc_auc_of,
)
from promptopt.metrics.operating_point import best_f1, recall_at_precision
from promptopt.metrics.ranking import average_precision, roc_auc

Metric = Callable[[BoolArray, FloatArray], float]
Groups = Sequence[str] | npt.NDArray[Any]

_BLOCK_CELLS = 2_000_000
_COUNT_FORMS: dict[Metric, CountForm] = {
    average_precision: CountForm(average_precision_of, 0.0),
    roc_auc: CountForm(roc_auc_of, 0.0),
    best_f1: CountForm(best_f1_of, NEAR_TIE),
}


class Interval(FrozenModel):
    """A measured number with its confidence interval.

    Attributes:
        point: The number on the rows as they are.
        low: Lower end; NaN when every resample was undefined.
        high: Upper end.
        level: Confidence level, such as 0.95.
        dropped: Resamples left out because the metric was undefined on them.
    """

    point: Measured
    low: Measured
    high: Measured
    level: float
    dropped: int = 0


def bootstrap_interval(
    labels: BoolArray,
    scores: FloatArray,
    metric: Metric,
    *,
    groups: Groups | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap interval of a metric (Efron and Tibshirani, 1993, chapter 13).

    Whole groups are drawn where groups are given, because cases from one template are not independent; otherwise rows
    are drawn within each label. ``average_precision``, ``roc_auc``, ``best_f1`` and
    ``functools.partial(recall_at_precision, floor=...)`` are computed for all resamples at once; any other metric is
    called once per resample.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged; unjudged rows are left out before drawing.
        metric: From labels and scores to a number.
        groups: Group of each row; shape (n,).
        resamples: Number of resamples, at least 1.
        level: Confidence level in (0, 1).
        seed: The same seed gives the same interval.

    Returns:
        The interval.

    Raises:
        ValueError: Shapes, level or resamples do not fit.
    """
    y, s = judged_rows(labels, scores)
    kept = _kept_groups(groups, ~np.isnan(np.asarray(scores, dtype=np.float64)))
    blocks = _weight_blocks(y, kept, resamples, seed)
    values = np.concatenate([_on_resamples(metric, y, s, weights) for weights in blocks])
    return _percentile(metric(y, s), values, level)


def paired_bootstrap_difference(
    labels: BoolArray,
    scores_a: FloatArray,
    scores_b: FloatArray,
    metric: Metric,
    *,
    groups: Groups | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Bootstrap interval of ``metric(b) - metric(a)``, both measured on the same resamples.

    Args:
        labels: True for a violation; shape (n,).
        scores_a: Shape (n,), NaN where unjudged.
        scores_b: Shape (n,), NaN where unjudged; rows that either left unjudged are left out of both.
        metric: As in :func:`bootstrap_interval`, and so are the remaining arguments.

    Returns:
        The interval of the difference; above 0 means that b is better.

    Raises:
        ValueError: Shapes, level or resamples do not fit.
    """
    leads, values = paired_bootstrap_leads(
        labels, scores_a, [scores_b], metric, groups=groups, resamples=resamples, seed=seed
    )
    return _percentile(float(leads[0]), values[0], level)


def paired_bootstrap_leads(
    labels: BoolArray,
    reference: FloatArray,
    challengers: Sequence[FloatArray],
    metric: Metric,
    *,
    groups: Groups | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[FloatArray, FloatArray]:
    """By how much several scores exceed a reference in a metric, all on the same resamples.

    Args:
        labels: True for a violation; shape (n,).
        reference: Shape (n,), NaN where unjudged.
        challengers: At least one, each like the reference. Rows that the reference or the first challenger left
            unjudged are left out before drawing, those that another left unjudged are left out of its own leads.
        metric: As in :func:`bootstrap_interval`, and so are the remaining arguments.

    Returns:
        The leads on the rows as they are, (challengers,), and on each resample, (challengers, resamples); NaN where
        undefined.

    Raises:
        ValueError: Shapes or resamples do not fit.
    """
    table = np.stack([np.asarray(one, dtype=np.float64) for one in (reference, *challengers)])
    both = np.asarray(~np.isnan(table[:2]).any(axis=0), dtype=np.bool_)
    y, base = judged_rows(labels, np.where(both, reference, np.nan))
    others = [row[both] for row in table[1:]]
    judged = [~np.isnan(one) for one in others]
    pairs = [(y[rows], base[rows], one[rows]) for one, rows in zip(others, judged, strict=True)]
    values = []
    for weights in _weight_blocks(y, _kept_groups(groups, both), resamples, seed):
        shared = _on_resamples(metric, y, base, weights)
        block = [
            _on_resamples(metric, labelled, one, weights[:, rows])
            - (shared if rows.all() else _on_resamples(metric, labelled, against, weights[:, rows]))
            for (labelled, against, one), rows in zip(pairs, judged, strict=True)
        ]
        values.append(block)
    leads = [metric(labelled, one) - metric(labelled, against) for labelled, against, one in pairs]
    return np.array(leads, dtype=np.float64), np.concatenate(values, axis=1)


def wilson_interval(successes: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion (Wilson, 1927).

    Raises:
        ValueError: Not 0 <= successes <= n, or a level outside (0, 1).
    """
    _check_proportion(successes, n, level)
    if n == 0:
        return Interval(point=float("nan"), low=0.0, high=1.0, level=level)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5
    low, high = min(max(0.0, centre - half), share), max(min(1.0, centre + half), share)
    return Interval(point=share, low=low, high=high, level=level)


def clopper_pearson_lower(successes: int, n: int, confidence: float = 0.95) -> float:
    """One-sided lower bound of a proportion that holds with at least this confidence (Clopper and Pearson, 1934).

    Raises:
        ValueError: Not 0 <= successes <= n, or a confidence outside (0, 1).
    """
    from scipy.special import betaincinv

    _check_proportion(successes, n, confidence)
    if successes == 0:
        return 0.0
    return float(betaincinv(successes, n - successes + 1, 1 - confidence))


def _count_form(metric: Metric) -> CountForm | None:
    if isinstance(metric, partial) and metric.func is recall_at_precision and not metric.args:
        return CountForm(partial(recall_at_precision_of, **metric.keywords), NEAR_TIE)
    return _COUNT_FORMS.get(metric)


def _on_resamples(metric: Metric, labels: BoolArray, scores: FloatArray, weights: IntArray) -> FloatArray:
    """The metric on each row of resample weights; weights of shape (resamples, n), result (resamples,)."""
    form = _count_form(metric)
    if form is not None:
        return form.function(count(labels, rank(scores, form.near_tie), weights.astype(np.float64)))
    rows = np.arange(len(labels))
    picked = (np.repeat(rows, row) for row in weights)
    return np.array([metric(labels[pick], scores[pick]) for pick in picked], dtype=np.float64)


def _weight_blocks(labels: BoolArray, groups: IntArray | None, resamples: int, seed: int) -> Iterator[IntArray]:
    """Blocks of shape (resamples in block, n) that say how often each row is drawn, bounded in memory."""
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, not {resamples}")
    random = np.random.default_rng(seed)
    block = max(1, min(resamples, _BLOCK_CELLS // max(1, len(labels))))
    for start in range(0, resamples, block):
        yield _draw(labels, groups, min(block, resamples - start), random)


def _draw(labels: BoolArray, groups: IntArray | None, times: int, random: np.random.Generator) -> IntArray:
    if groups is not None:
        return _draw_with_replacement(int(groups.max(initial=-1)) + 1, times, random)[:, groups]
    weights = np.zeros((times, len(labels)), dtype=np.int64)
    for stratum in (np.flatnonzero(labels), np.flatnonzero(~labels)):
        weights[:, stratum] = _draw_with_replacement(len(stratum), times, random)
    return weights


def _draw_with_replacement(n: int, times: int, random: np.random.Generator) -> IntArray:
    """How often each of n things is drawn in n draws, for each time; shape (times, n)."""
    if n == 0:
        return np.zeros((times, 0), dtype=np.int64)
    cells = random.integers(0, n, size=(times, n)) + np.arange(times)[:, np.newaxis] * n
    return np.bincount(cells.ravel(), minlength=times * n).reshape(times, n).astype(np.int64)


def _kept_groups(groups: Groups | None, kept: BoolArray) -> IntArray | None:
    if groups is None:
        return None
    names = np.asarray(groups)
    if names.shape != kept.shape:
        raise ValueError(f"groups must have shape {kept.shape}, not {names.shape}")
    return np.unique(names[kept], return_inverse=True)[1].astype(np.int64)


def _percentile(point: float, values: FloatArray, level: float) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, not {level}")
    defined = values[~np.isnan(values)]
    dropped = len(values) - len(defined)
    if not len(defined):
        return Interval(point=point, low=float("nan"), high=float("nan"), level=level, dropped=dropped)
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return Interval(point=point, low=float(low), high=float(high), level=level, dropped=dropped)


def _check_proportion(successes: int, n: int, level: float) -> None:
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, not {level}")
