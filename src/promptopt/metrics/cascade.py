"""Cascades: cheap judges settle what they are certified to settle, people what no judge could.

Recall. Stage k may lose at most the share ``1 - floor_k`` of the violations that the stages before it have spared,
where the floors multiply to the cascade's and each is certified at an equal share of delta. A stage's own certificate
is spent on its ``allowed_misses + 1`` lowest violations: the rest are independent draws from what scores higher, so
that the next stage is calibrated on them as if the one before had been fixed in advance. What is bounded is the share
of violations below *any* stage's threshold, whether or not the case gets that far. Hence it still holds where a stage
is lowered, or left out, or flags a violation before another could lose it, for whatever reason: the choice of which
stages to run costs nothing.

Precision. One threshold, common to the stages, above which any stage may call a violation, is certified over all of
them together, on cases that took no part in the choices that decide who sees what. All stages' scores must therefore
be on one scale, such as calibrated probabilities, with the calibrators fitted on other cases.

Both suppose what :mod:`promptopt.metrics.certificates` says, and people who are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from promptopt.core.model import FrozenModel
from promptopt.errors import ConfigError
from promptopt.metrics.arrays import BoolArray, FloatArray, IntArray, Measured
from promptopt.metrics.bands import Route, route
from promptopt.metrics.binomial import allowed_misses, check_risk
from promptopt.metrics.certificates import Certificate, certify_precision, certify_recall
from promptopt.metrics.intervals import Interval, wilson_interval

MOST_STAGES = 8
_STEPS = 4
_STREAM = 1_999_301


class CascadeStage(NamedTuple):
    """One judge's scores of the calibration cases.

    Attributes:
        scores: Shape (n,), NaN where unjudged: the stage passes such a case on.
        cost: Of judging one case, in the unit of the human cost.
    """

    scores: FloatArray
    cost: float


class StageBand(FrozenModel):
    """What one stage settles.

    Attributes:
        low: Scores below it are allowed; None where the stage allows nothing.
        high: Scores at or above it are violations; None where the stage flags nothing.
        cost: Of judging one case.
        runs: False where the stage is left out, because it could settle nothing or too little for its cost.
        recall: The stage's share of the recall certificate; None where it was given none of the risk.
    """

    low: float | None
    high: float | None
    cost: float
    runs: bool
    recall: Certificate | None


class CascadePlan(FrozenModel):
    """Which stages run, and what each settles.

    Attributes:
        stages: In order.
        recall_floor: Share of violations that are not allowed unseen on new cases, with probability ``1 - delta``
            (together with the precision, where that is asked for).
        delta: Probability of error, over the draw of the calibration cases.
        precision: Of the violations that stages call; None where no precision was asked for.
        human_cost: Of one case that people judge.
        expected_cost: Per case, on the calibration cases.
        to_people: Share of the calibration cases that people would judge, with its Wilson interval.
        note: What could not be certified, and what would help.
    """

    stages: tuple[StageBand, ...]
    recall_floor: float
    delta: float
    precision: Certificate | None
    human_cost: float
    expected_cost: Measured
    to_people: Interval
    note: str = ""

    def decide(self, scores: Sequence[FloatArray]) -> tuple[IntArray, FloatArray]:
        """Sends cases through the stages that run.

        Args:
            scores: One array of shape (n,) per stage, NaN where unjudged; those of a stage that does not run, and of
                cases that are settled before, are not looked at.

        Returns:
            The :class:`Route` of each case and its cost; shapes (n,).
        """
        return _walk(self.stages, [stage.runs for stage in self.stages], scores, self.human_cost)


def fit_cascade(
    stages: Sequence[CascadeStage],
    labels: BoolArray,
    recall_floor: float,
    delta: float,
    human_cost: float,
    *,
    precision_floor: float | None = None,
    shares: Sequence[float] | None = None,
    half: BoolArray | None = None,
    seed: int = 0,
) -> CascadePlan:
    """The cheapest plan that the certificates cover.

    Args:
        stages: One per judge, the first asked first; at most 8.
        labels: True for a violation; shape (n,).
        recall_floor: Share of violations that must not be allowed unseen, in (0, 1).
        delta: Probability of error to bear, in (0, 1).
        human_cost: Of one case that people judge.
        precision_floor: Share of violations among what stages flag unseen; None where people see every violation.
            Where given, half of delta and a random half of the cases go to it.
        shares: How the risk is shared: stage k keeps ``recall_floor ** share`` of the violations it sees. Settled
            without these cases, as :func:`choose_shares` does on others; by default equal. A stage with a share of 0
            allows nothing.
        half: Where a precision is asked for, the cases that do not go to its certificate, settled without a look at
            the labels: stages may be put on one scale with their labels, too. By default a random half. Shape (n,).
        seed: Orders tied scores and halves the cases.

    Returns:
        The plan. A stage whose certificate fails passes everything on; where all do, people judge every case.

    Raises:
        ConfigError: A floor or delta is not in (0, 1), or stages or shares do not fit.
        ValueError: Shapes differ or a score is infinite.
    """
    check_risk(recall_floor, delta)
    risk = _checked_shares(stages, shares)
    y = np.asarray(labels, dtype=np.bool_)
    table = [np.asarray(stage.scores, dtype=np.float64) for stage in stages]
    if any(s.shape != y.shape for s in table):
        raise ValueError(f"labels and the scores of every stage must have one shape (n,), labels have {y.shape}")
    random = np.random.default_rng((seed, _STREAM))  # the same seed may have drawn or ordered the cases
    half = _choosing_half(len(y), half, precision_floor is not None, random)
    part = delta if precision_floor is None else delta / 2
    held = [s[half] for s in table]
    bands = _recall_bands(held, y[half], [recall_floor**share for share in risk], part, stages, random)
    note = _what_failed(bands)
    guess = None
    if precision_floor is not None:
        guess = certify_precision(y[half], _top_scores(bands, [True] * len(bands), held), precision_floor, part)
    runs = _cheapest(_with_high(bands, guess), held, human_cost)
    precision = None
    if precision_floor is not None:
        rest = [s[~half] for s in table]
        precision = certify_precision(y[~half], _top_scores(bands, runs, rest), precision_floor, part, seed=seed)
        note = "; ".join(text for text in (note, precision.note) if text)
    bands = _with_high(bands, precision)
    routes, costs = _walk(bands, runs, table, human_cost)
    return CascadePlan(
        stages=tuple(band.model_copy(update={"runs": run}) for band, run in zip(bands, runs, strict=True)),
        recall_floor=recall_floor,
        delta=delta,
        precision=precision,
        human_cost=human_cost,
        expected_cost=float(costs.mean()) if len(costs) else float("nan"),
        to_people=wilson_interval(int(np.count_nonzero(routes == Route.PEOPLE)), len(y)),
        note=note,
    )


def choose_shares(
    stages: Sequence[CascadeStage],
    labels: BoolArray,
    recall_floor: float,
    delta: float,
    human_cost: float,
    *,
    precision_floor: float | None = None,
) -> tuple[float, ...]:
    """The split of the risk over the stages, in quarters, whose plan is cheapest on these cases.

    Args:
        stages: As in :func:`fit_cascade`, with about as many violations, but of *other* cases than those that the plan
            is then fitted to: a split chosen and certified on the same cases voids the certificate.
        labels: As in :func:`fit_cascade`, and so are the remaining arguments.

    Returns:
        One share per stage, 1 in all.

    Raises:
        ConfigError: As :func:`fit_cascade`.
        ValueError: As :func:`fit_cascade`.
    """
    splits = [split for split in product(range(_STEPS + 1), repeat=len(stages)) if sum(split) == _STEPS]
    shares = [tuple(quarters / _STEPS for quarters in split) for split in splits]
    costs = [
        fit_cascade(
            stages, labels, recall_floor, delta, human_cost, precision_floor=precision_floor, shares=share
        ).expected_cost
        for share in shares
    ]
    return shares[int(np.argmin(costs))]


def _checked_shares(stages: Sequence[CascadeStage], shares: Sequence[float] | None) -> list[float]:
    if not 1 <= len(stages) <= MOST_STAGES:
        raise ConfigError(f"a cascade of {len(stages)} stages", remedy=f"give 1 to {MOST_STAGES}")
    risk = [1 / len(stages)] * len(stages) if shares is None else [float(share) for share in shares]
    if len(risk) != len(stages) or min(risk) < 0 or not np.isclose(sum(risk), 1.0):
        raise ConfigError(f"shares of the risk {risk}", remedy="give one per stage, none negative, 1 in all")
    return risk


def _choosing_half(cases: int, half: BoolArray | None, halved: bool, random: np.random.Generator) -> BoolArray:
    """The cases that choices and recall rest on: all of them where no precision is asked for."""
    if not halved:
        return np.ones(cases, dtype=np.bool_)
    drawn = random.random(cases) < 0.5 if half is None else np.asarray(half, dtype=np.bool_)
    if drawn.shape != (cases,):
        raise ValueError(f"half must have the shape of the labels, ({cases},), not {drawn.shape}")
    return drawn


def _recall_bands(
    table: Sequence[FloatArray],
    labels: BoolArray,
    floors: Sequence[float],
    delta: float,
    stages: Sequence[CascadeStage],
    random: np.random.Generator,
) -> list[StageBand]:
    """Each stage's lower end, on the violations that no earlier certificate is spent on."""
    each = delta / max(1, sum(floor < 1 for floor in floors))
    alive = np.ones(len(labels), dtype=np.bool_)
    bands = []
    for scores, floor, stage in zip(table, floors, stages, strict=True):
        certificate = None
        if floor < 1:
            certificate = certify_recall(labels[alive], scores[alive], floor, each, unjudged="escalate")
            if certificate.threshold is not None:
                spent = allowed_misses(certificate.cases, floor, each) + 1
                alive &= labels | ~(scores < certificate.threshold)
                alive[_lowest(np.flatnonzero(alive & labels), scores, spent, random)] = False
        low = None if certificate is None else certificate.threshold
        bands.append(StageBand(low=low, high=None, cost=stage.cost, runs=low is not None, recall=certificate))
    return bands


def _lowest(rows: IntArray, scores: FloatArray, number: int, random: np.random.Generator) -> IntArray:
    """The rows with the lowest scores, ties in random order, the unjudged last."""
    shuffled = random.permutation(rows)
    return shuffled[np.argsort(scores[shuffled], kind="stable")[:number]]


def _top_scores(bands: Sequence[StageBand], runs: Sequence[bool], table: Sequence[FloatArray]) -> FloatArray:
    """The highest score that any stage gives a case before one allows it; NaN where none does."""
    top = np.full(len(table[0]), np.nan)
    reached = np.ones(len(top), dtype=np.bool_)
    for band, run, scores in zip(bands, runs, table, strict=True):
        if run:
            reached &= route(scores, band.low, None) != Route.ALLOWED
            top = np.where(reached, np.fmax(top, scores), top)
    return top


def _with_high(bands: Sequence[StageBand], precision: Certificate | None) -> list[StageBand]:
    high = None if precision is None else precision.threshold
    return [band.model_copy(update={"high": high}) for band in bands]


def _cheapest(bands: Sequence[StageBand], table: Sequence[FloatArray], human_cost: float) -> list[bool]:
    """Which stages to run; among plans of equal cost, the one of fewest stages."""
    choices = sorted(product([False, True], repeat=len(bands)), key=sum)
    costs = [_walk(bands, choice, table, human_cost)[1].sum() for choice in choices]
    return list(choices[int(np.argmin(costs))])


def _walk(
    bands: Sequence[StageBand], runs: Sequence[bool], table: Sequence[FloatArray], human_cost: float
) -> tuple[IntArray, FloatArray]:
    routes = np.full(len(table[0]), int(Route.PEOPLE), dtype=np.int64)
    costs = np.zeros(len(routes))
    for band, run, scores in zip(bands, runs, table, strict=True):
        if run:
            waiting = routes == Route.PEOPLE
            costs += band.cost * waiting
            routes = np.where(waiting, route(scores, band.low, band.high), routes)
    return routes, costs + human_cost * (routes == Route.PEOPLE)


def _what_failed(bands: Sequence[StageBand]) -> str:
    failed = [
        f"stage {number} allows nothing: {band.recall.note}"
        for number, band in enumerate(bands, 1)
        if band.recall is not None and not band.recall.feasible
    ]
    return "; ".join(failed)
