"""Thresholds whose recall or precision is certified: it holds on new cases with probability at least 1 - delta.

Learn-then-Test (Angelopoulos et al., 2021, arXiv 2110.01052) with fixed sequences: thresholds are tested in an order
that is settled without the labels, each at the full ``delta``, up to the first that fails. Both tests are one: among n
independent cases whose rate of misses is at least ``1 - floor``, at most m misses have probability at most
``P[Bin(n, 1 - floor) <= m]``; the cases are the violations for recall and the flagged ones for precision.

Recall falls as the threshold rises, so the walk from the most permissive threshold may stop at the cases' own scores:
let t be the highest threshold that keeps the floor. Any threshold above t misses every violation at or below t, and
those are binomial with a rate of at least ``1 - floor``: to accept any of them, that one test would have to err.

Precision may rise and fall, so its walk goes over ranks: test k concerns all scores above the (k + 1)th highest, for
each k from ``start``, which must not depend on the labels. Why the cases' own scores may serve as thresholds here too:
write G(z) for the integral, over the scores above z, of the share of violations less the floor. Precision above z is
below the floor where G(z) < 0. Between two zeros of G the violations are the floor's share on average, so at the first
tested rank whose next score lies where G < 0, the violations above are stochastically at most Bin(k, floor) given how
many scores fall between which zeros, and that is all that decides which rank comes first. Tied scores are ordered at
random for the walk, which makes them a special case of distinct ones, and then never parted by the threshold.

Every guarantee supposes calibration cases drawn independently from the same source as the cases to come, and used for
nothing before: not for the prompt, not for the calibrator, not for choosing the floor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from promptopt.core.model import FrozenModel
from promptopt.errors import ConfigError
from promptopt.metrics.arrays import BoolArray, FloatArray, IntArray, Measured, judged_rows
from promptopt.metrics.binomial import check_delta, check_risk, positives_needed, tail
from promptopt.metrics.counts import NEAR_TIE, Ranking, count, rank
from promptopt.metrics.intervals import clopper_pearson_lower

Kind = Literal["recall", "precision"]
Unjudged = Literal["miss", "escalate"]
FORGIVEN = 2
"""False alarms that the default first test of :func:`certify_precision` can bear."""

_STREAM = 20_211_001


class Claim(NamedTuple):
    """What is to be certified of how many rows, ``unjudged`` of them without a score."""

    kind: Kind
    floor: float
    delta: float
    unjudged: int


class Certificate(FrozenModel):
    """A threshold and what is certain about it, or a refusal.

    Attributes:
        kind: What is certified.
        floor: The recall or precision that holds on new cases.
        delta: Probability, over the draw of the calibration cases, that it does not hold.
        threshold: Scores at or above it are flagged; None in a refusal.
        cases: Violations (recall) or flagged cases (precision) that the test rests on.
        misses: Missed violations or false alarms among them.
        p_value: Of the test at the threshold; in a refusal, of the test that failed, NaN where none was made.
        bound: One-sided Clopper-Pearson lower bound at that threshold alone, at confidence ``1 - delta``.
        unjudged: Rows without a score.
        feasible: False in a refusal.
        more: In a refusal, how many more such cases would be needed, at the least, with no further miss.
        note: Why it is a refusal, and what would help; empty otherwise.
    """

    kind: Kind
    floor: float
    delta: float
    threshold: float | None
    cases: int
    misses: int
    p_value: Measured
    bound: Measured
    unjudged: int
    feasible: bool
    more: int = 0
    note: str = ""


def split_delta(delta: float, domains: Sequence[str]) -> dict[str, float]:
    """Equal shares of an error budget, so that all domains' certificates hold together with ``1 - delta``.

    Raises:
        ConfigError: Delta is not in (0, 1), or there is no domain, or one occurs twice.
    """
    check_delta(delta)
    if not domains or len(set(domains)) < len(domains):
        raise ConfigError(f"delta cannot be split over {list(domains)}", remedy="name each domain once")
    return dict.fromkeys(domains, delta / len(domains))


def certify_recall(
    labels: BoolArray, scores: FloatArray, floor: float, delta: float, *, unjudged: Unjudged = "miss"
) -> Certificate:
    """The strictest threshold whose recall is certified.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged. Scores within a few millionths of their size are never parted.
        floor: Recall to keep, in (0, 1).
        delta: Probability of error to bear, in (0, 1).
        unjudged: ``"miss"`` where unjudged cases pass unseen, so that an unjudged violation is a miss at every
            threshold; ``"escalate"`` where people look at each, so that it counts as found.

    Raises:
        ConfigError: Floor or delta is not in (0, 1), or ``unjudged`` is unknown.
        ValueError: Shapes differ or a score is infinite.
    """
    check_risk(floor, delta)
    y, s = judged_rows(labels, scores)
    positives, blind = count_positives(labels, y, unjudged)
    claim = Claim("recall", floor, delta, len(labels) - len(s))
    ranking = rank(s, NEAR_TIE)
    misses = (int(y.sum()) - count(y, ranking).true_positives + blind).astype(np.int64)
    passed = np.flatnonzero(tail(misses, positives, floor) <= delta)
    if not len(passed):
        return refuse(claim, positives, blind, why=_why_no_recall(len(s), positives, blind, floor))
    place = int(passed[0])
    return state(claim, _between(s[ranking.order], ranking.ends, place), positives, int(misses[place]))


def certify_precision(
    labels: BoolArray,
    scores: FloatArray,
    floor: float,
    delta: float,
    *,
    start: int | None = None,
    seed: int = 0,
) -> Certificate:
    """The most permissive threshold, walking from the strictest, whose precision is certified.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged: such a case is never flagged, so it is no part of the precision.
        floor: Precision to keep, in (0, 1).
        delta: Probability of error to bear, in (0, 1).
        start: How many of the highest scores the first test flags; settled without a look at these labels. A small
            start suits few violations, a large one forgives more false alarms among the highest scores. By default
            the smallest at which two are forgiven.
        seed: Orders tied scores, which no threshold parts, for the tests.

    Returns:
        The certificate; its threshold lies just above the highest score that is not flagged.

    Raises:
        ConfigError: Floor or delta is not in (0, 1), or no certificate is possible at the start.
        ValueError: Shapes differ or a score is infinite.
    """
    least = positives_needed(floor, delta)
    first = positives_needed(floor, delta, FORGIVEN) if start is None else start
    if first < least:
        raise ConfigError(f"{first} flagged cases can certify nothing", remedy=f"start at {least} or more")
    y, s = judged_rows(labels, scores)
    claim = Claim("precision", floor, delta, len(labels) - len(s))
    ranking = rank(s, NEAR_TIE)
    ends = ranking.ends + 1
    order = _shuffled_ties(ranking, seed)
    alarms = np.cumsum(~y[order], dtype=np.int64)
    if len(s) <= first:
        why = f"the first test flags the {first} highest of more judged cases than that, and {len(s)} are judged"
        return refuse(claim, len(s), int(alarms[-1]) if len(s) else 0, first + 1 - len(s), why)
    # The last rank flags everything: no score lies below it to say where the threshold goes.
    ranks = np.arange(first, len(s))
    failed = ranks[tail(alarms[first - 1 : -1], ranks, floor) > delta]
    end = int(failed[0]) if len(failed) else len(s)
    cuts = ends[(ends >= first) & (ends < end)]
    if not len(cuts):
        at = min(end, len(s) - 1)
        return refuse(claim, at, int(alarms[at - 1]), why=_why_no_precision(alarms, ends, first, at, floor))
    flagged = int(cuts[-1])
    return state(claim, _just_above(float(s[ranking.order[flagged]])), flagged, int(alarms[flagged - 1]))


def certify_precision_at(
    labels: BoolArray, scores: FloatArray, thresholds: Sequence[float], floor: float, delta: float
) -> Certificate:
    """The last threshold whose precision is certified, testing in the given order up to the first failure.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), NaN where unjudged (never flagged).
        thresholds: Settled before these cases were looked at, such as on the search split; any order is valid, and the
            likeliest to pass comes first.
        floor: Precision to keep, in (0, 1).
        delta: Probability of error to bear, in (0, 1).

    Raises:
        ConfigError: Floor or delta is not in (0, 1), or no threshold is given.
        ValueError: Shapes differ or a score is infinite.
    """
    check_risk(floor, delta)
    if not len(thresholds):
        raise ConfigError("no threshold to test", remedy="give at least one")
    y, s = judged_rows(labels, scores)
    claim = Claim("precision", floor, delta, len(labels) - len(s))
    flagged = [y[s >= threshold] for threshold in thresholds]
    cases = np.array([len(hit) for hit in flagged])
    alarms = cases - np.array([int(hit.sum()) for hit in flagged])
    failed = np.flatnonzero(tail(alarms, cases, floor) > delta)
    last = int(failed[0]) - 1 if len(failed) else len(cases) - 1
    if last < 0:
        return refuse(claim, int(cases[0]), int(alarms[0]), why=f"tested at {thresholds[0]:g}")
    return state(claim, float(thresholds[last]), int(cases[last]), int(alarms[last]))


def count_positives(labels: BoolArray, judged: BoolArray, unjudged: Unjudged) -> tuple[int, int]:
    """All violations, and those of them that are missed at every threshold because they are unjudged.

    Args:
        labels: Of all rows.
        judged: Labels of the judged rows.
        unjudged: As in :func:`certify_recall`.

    Raises:
        ConfigError: ``unjudged`` is unknown.
    """
    if unjudged not in ("miss", "escalate"):
        raise ConfigError(f"unjudged is {unjudged!r}", remedy="use miss or escalate")
    positives = int(np.count_nonzero(labels))
    return positives, positives - int(np.count_nonzero(judged)) if unjudged == "miss" else 0


def state(claim: Claim, threshold: float | None, cases: int, misses: int) -> Certificate:
    """What a test found; without a threshold, that of a test that failed."""
    return Certificate(
        kind=claim.kind,
        floor=claim.floor,
        delta=claim.delta,
        threshold=threshold,
        cases=cases,
        misses=misses,
        p_value=float(tail(misses, cases, claim.floor)) if cases else float("nan"),
        bound=clopper_pearson_lower(cases - misses, cases, 1 - claim.delta),
        unjudged=claim.unjudged,
        feasible=threshold is not None,
    )


def refuse(claim: Claim, cases: int, misses: int, more: int | None = None, why: str = "") -> Certificate:
    """A refusal that says how many more cases are needed."""
    lacking = max(0, positives_needed(claim.floor, claim.delta, misses) - cases) if more is None else more
    cases_named, fault = ("violations", "missed") if claim.kind == "recall" else ("flagged cases", "false alarms")
    note = (
        f"{cases} {cases_named} with {misses} {fault} do not certify {claim.kind} {claim.floor:g} with confidence "
        f"{1 - claim.delta:g}; at least {lacking} more are needed, none of them {fault}"
    )
    update = {"more": lacking, "note": f"{note}; {why}" if why else note}
    return state(claim, None, cases, misses).model_copy(update=update)


def _why_no_recall(judged: int, positives: int, blind: int, floor: float) -> str:
    if not judged:
        return "no case is judged"
    if blind and blind / positives > 1 - floor:
        return f"{blind} violations are unjudged and count as missed: no threshold reaches the floor"
    return f"{blind} violations are unjudged and count as missed" if blind else ""


def _why_no_precision(alarms: IntArray, ends: IntArray, first: int, failed: int, floor: float) -> str:
    tried = ends[ends >= first]
    best = float(np.max(1 - alarms[tried - 1] / tried))
    if best < floor:
        return f"no threshold that flags at least {first} reaches the floor (best {best:.3f})"
    return "the scores before that are tied" if failed > first else "this was the first test"


def _shuffled_ties(ranking: Ranking, seed: int) -> IntArray:
    """Rows by falling score, those of one run in random order: the order of rows may tell of their labels."""
    runs = np.empty(len(ranking.order), dtype=np.int64)
    runs[ranking.order] = np.repeat(np.arange(len(ranking.ends)), np.diff(ranking.ends, prepend=-1))
    # A stream of its own: the same seed may have drawn or ordered the cases.
    shuffled = np.random.default_rng((seed, _STREAM)).permutation(len(runs))
    return shuffled[np.argsort(runs[shuffled], kind="stable")]


def _between(ranked: FloatArray, ends: IntArray, chosen: int) -> float:
    """Midway between the lowest flagged score and the next; below the lowest of all where everything is flagged."""
    lowest = float(ranked[ends[chosen]])
    if chosen + 1 < len(ends):
        return (lowest + float(ranked[ends[chosen] + 1])) / 2
    return lowest / 2 if lowest >= 0 else lowest - 1.0


def _just_above(score: float) -> float:
    """Above the score by more than rounding, and by less than what parts two scores."""
    return float(max(np.nextafter(score, np.inf), score + NEAR_TIE / 2 * abs(score)))
