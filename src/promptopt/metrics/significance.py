"""Whether two judges differ on the same cases: paired permutation tests, McNemar's test, Holm's procedure.

The permutation tests swap what the two judges said of a case, for whole groups of cases at once. Under the null
hypothesis that the judges are exchangeable (two copies of one prompt, say) every swap is as likely as what was seen, so
the error of the test is that of counting swaps, whatever the metric.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from promptopt.core.model import FrozenModel
from promptopt.metrics.arrays import BoolArray, FloatArray, IntArray, Measured
from promptopt.metrics.counts import CountForm, ThresholdCounts, count, rank
from promptopt.metrics.intervals import Groups

DEFAULT_PERMUTATIONS = 10_000
_BLOCK_CELLS = 1_000_000
_EQUAL = 1e-12


class VerdictCounts(NamedTuple):
    """Verdicts at one operating point, for each permutation; ``positives`` is one number for all."""

    true_positives: FloatArray
    false_positives: FloatArray
    positives: float


class PairedTest(FrozenModel):
    """A metric of two judges on the same cases, and how likely so large a difference is between exchangeable ones.

    Attributes:
        a: The metric of the first judge.
        b: The metric of the second.
        p: Two-sided p-value; NaN where the metric is undefined.
        groups: Groups of cases that were swapped independently.
    """

    a: Measured
    b: Measured
    p: Measured
    groups: int

    @property
    def difference(self) -> float:
        return self.b - self.a


class McNemarTest(FrozenModel):
    """McNemar's test on the cases that exactly one of two judges gets right.

    Attributes:
        cases: Cases compared.
        right_a: Cases that the first judge gets right.
        right_b: Cases that the second gets right.
        gained: Cases that only the second gets right.
        lost: Cases that only the first gets right.
        p: Exact two-sided p-value: twice the smaller binomial tail, at most 1; 1 without discordant cases.
        mid_p: The same with half the probability of what was seen left out of each tail: less conservative, and not
            guaranteed to keep the level.
        p_loss: Exact one-sided p-value against the second judge being no worse: P(X >= lost).
    """

    cases: int
    right_a: int
    right_b: int
    gained: int
    lost: int
    p: float
    mid_p: float
    p_loss: float


def paired_ranking_test(
    labels: BoolArray,
    scores_a: FloatArray,
    scores_b: FloatArray,
    form: CountForm,
    *,
    groups: Groups | None = None,
    permutations: int = DEFAULT_PERMUTATIONS,
    seed: int = 0,
) -> PairedTest:
    """Permutation test of a metric that depends on the order of the scores alone.

    Each judge's scores are replaced by their ranks among its own scores before cases are swapped, so that two judges
    on different scales stay comparable (Venkatraman and Begg, Biometrika 83, 1996, do so for ROC curves). Ranks depend
    on all cases, so the test is exact only in the limit: ``scripts/check_gate.py`` measures its error. With no more
    than ``permutations`` different swaps each is made once; otherwise as many are drawn, and what was seen counts as
    one more (Phipson and Smyth, 2010).

    Args:
        labels: True for a violation; shape (n,).
        scores_a: Finite, or NaN where unjudged; shape (n,).
        scores_b: Likewise; rows that either left unjudged are left out of both.
        form: The metric, such as ``CountForm(average_precision_of, 0.0)``.
        groups: Rows of one group are swapped together; shape (n,). By default every row is a group.
        permutations: Swaps to make, at least 1.
        seed: The same seed gives the same p-value.

    Returns:
        The test.

    Raises:
        ValueError: Shapes or number of permutations do not fit.
    """
    y, a, b = np.asarray(labels, dtype=np.bool_), np.asarray(scores_a), np.asarray(scores_b)
    units = _units(groups, y, a, b)
    both = ~(np.isnan(a) | np.isnan(b))
    rows = np.tile(y[both], 2)
    ranking = rank(np.concatenate([_mid_ranks(a[both], form.near_tie), _mid_ranks(b[both], form.near_tie)]))
    everything = count(rows, ranking)

    def values(swapped: BoolArray) -> tuple[FloatArray, FloatArray]:
        held = np.concatenate([swapped, ~swapped], axis=1).astype(np.float64)
        of_b = count(rows, ranking, held)
        of_a = ThresholdCounts(*(whole - part for whole, part in zip(everything, of_b, strict=True)))
        return form.function(of_a), form.function(of_b)

    return _test(values, np.unique(units[both], return_inverse=True)[1].astype(np.int64), permutations, seed)


def paired_verdict_test(
    labels: BoolArray,
    flagged_a: BoolArray,
    flagged_b: BoolArray,
    metric: Callable[[VerdictCounts], FloatArray],
    *,
    groups: Groups | None = None,
    permutations: int = DEFAULT_PERMUTATIONS,
    seed: int = 0,
) -> PairedTest:
    """Permutation test of a metric of verdicts.

    Args:
        labels: True for a violation; shape (n,).
        flagged_a: True where the first judge says violation; shape (n,).
        flagged_b: Likewise for the second.
        metric: :func:`recall_of`, :func:`precision_of` or :func:`f1_of`.
        groups: As in :func:`paired_ranking_test`, and so are the remaining arguments.

    Returns:
        The test.

    Raises:
        ValueError: Shapes or number of permutations do not fit.
    """
    y = np.asarray(labels, dtype=np.bool_)
    a, b = np.asarray(flagged_a, dtype=np.float64), np.asarray(flagged_b, dtype=np.float64)
    units = _units(groups, y, a, b)
    positives = float(y.sum())

    def values(swapped: BoolArray) -> tuple[FloatArray, FloatArray]:
        change = swapped.astype(np.float64) @ np.stack([y * (a - b), ~y * (a - b)], axis=1)
        of_a = VerdictCounts((y * a).sum() - change[:, 0], (~y * a).sum() - change[:, 1], positives)
        of_b = VerdictCounts((y * b).sum() + change[:, 0], (~y * b).sum() + change[:, 1], positives)
        return metric(of_a), metric(of_b)

    return _test(values, units, permutations, seed)


def recall_of(counts: VerdictCounts) -> FloatArray:
    """Share of the violations that are flagged; NaN without violations."""
    return _ratio(counts.true_positives, np.full_like(counts.true_positives, counts.positives))


def precision_of(counts: VerdictCounts) -> FloatArray:
    """Share of the flagged cases that are violations; NaN where nothing is flagged."""
    return _ratio(counts.true_positives, counts.true_positives + counts.false_positives)


def f1_of(counts: VerdictCounts) -> FloatArray:
    """F1; NaN where nothing is flagged and there are no violations."""
    return _ratio(2 * counts.true_positives, counts.true_positives + counts.false_positives + counts.positives)


def mcnemar(right_a: BoolArray, right_b: BoolArray) -> McNemarTest:
    """McNemar's exact test: the discordant cases as throws of a fair coin (McNemar, 1947; mid-p as in Fagerland, 2013).

    Cases count as independent, groups or not; where groups of cases hang together its p-values are too small.

    Args:
        right_a: True where the first judge is right; shape (n,).
        right_b: True where the second is.

    Returns:
        The test.

    Raises:
        ValueError: The shapes differ.
    """
    a, b = np.asarray(right_a, dtype=np.bool_), np.asarray(right_b, dtype=np.bool_)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"both must have one shape (n,), not {a.shape} and {b.shape}")
    from scipy.special import bdtr

    gained, lost = int((b & ~a).sum()), int((a & ~b).sum())
    throws, fewer = gained + lost, min(gained, lost)
    tail = float(bdtr(fewer, throws, 0.5))
    below = float(bdtr(fewer - 1, throws, 0.5)) if fewer else 0.0
    return McNemarTest(
        cases=len(a),
        right_a=int(a.sum()),
        right_b=int(b.sum()),
        gained=gained,
        lost=lost,
        p=min(1.0, 2 * tail),
        mid_p=min(1.0, tail + below),
        p_loss=float(bdtr(gained, throws, 0.5)),
    )


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p-values of Holm's step-down procedure (Holm, 1979), which bounds the chance of any false rejection.

    Args:
        p_values: In [0, 1]; NaN is left out of the family and stays NaN.

    Returns:
        One adjusted p-value each; reject those that are at most alpha.
    """
    adjusted = np.asarray(p_values, dtype=np.float64).copy()
    order = [int(i) for i in np.argsort(adjusted, kind="stable") if not np.isnan(adjusted[i])]
    largest = 0.0
    for step, i in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - step) * adjusted[i]))
        adjusted[i] = largest
    return tuple(adjusted.tolist())


def _test(
    values: Callable[[BoolArray], tuple[FloatArray, FloatArray]], units: IntArray, permutations: int, seed: int
) -> PairedTest:
    number = int(units.max(initial=-1)) + 1
    a, b = (float(value[0]) for value in values(np.zeros((1, len(units)), dtype=np.bool_)))
    if np.isnan(b - a):
        return PairedTest(a=a, b=b, p=float("nan"), groups=number)
    extreme = made = 0
    for swapped in _swaps(number, len(units), permutations, seed):
        swapped_a, swapped_b = values(swapped[:, units])
        # a swap on which the metric is undefined counts against significance
        extreme += int((~(np.abs(swapped_b - swapped_a) < abs(b - a) - _EQUAL)).sum())
        made += len(swapped)
    seen = 0 if _all_fit(number, permutations) else 1
    return PairedTest(a=a, b=b, p=(extreme + seen) / (made + seen), groups=number)


def _swaps(groups: int, rows: int, permutations: int, seed: int) -> Iterator[BoolArray]:
    """Blocks of shape (swaps in block, groups), bounded in memory: every swap once where they are few."""
    if permutations < 1:
        raise ValueError(f"permutations must be at least 1, not {permutations}")
    if _all_fit(groups, permutations):
        yield (np.arange(2**groups)[:, np.newaxis] >> np.arange(groups) & 1).astype(np.bool_)
        return
    random = np.random.default_rng(seed)
    block = max(1, min(permutations, _BLOCK_CELLS // max(1, rows)))
    for start in range(0, permutations, block):
        yield random.random((min(block, permutations - start), groups)) < 0.5


def _all_fit(groups: int, permutations: int) -> bool:
    return groups < 63 and 2**groups <= permutations


def _mid_ranks(scores: FloatArray, near_tie: float) -> FloatArray:
    """Ranks that grow with the score, tied scores sharing the middle of theirs."""
    ranking = rank(scores, near_tie)
    sizes = np.diff(ranking.ends, prepend=-1)
    ranks = np.empty(len(scores), dtype=np.float64)
    ranks[ranking.order] = -np.repeat(ranking.ends - (sizes - 1) / 2, sizes)
    return ranks


def _units(groups: Groups | None, labels: BoolArray, *others: npt.NDArray[np.float64]) -> IntArray:
    """Number of each row's group; checks the shapes."""
    names = np.arange(labels.size) if groups is None else np.asarray(groups)
    if labels.ndim != 1 or any(other.shape != labels.shape for other in (names, *others)):
        raise ValueError("labels, both judges and groups must have one shape (n,)")
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)
