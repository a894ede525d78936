"""Replays selection policies on a score matrix: how much worse than the pool's best is what each picks, at what cost?

The pool's best is the candidate with the highest AUPRC on all cases of the matrix, the very scores that the policies
search with. The same holds for a jury of the three best that a policy judged on all cases, whose scores are pooled as a
sweep's are. The replay therefore measures selection alone: how well the winner does on new cases is another question.
All seeds share one matrix, so that the intervals over seeds say nothing about other judges or other golden sets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from pydantic import Field

from promptopt.bench.replay_policies import POLICIES, race
from promptopt.bench.replay_pool import Ledger, ReplayPool
from promptopt.bench.score_matrix import ScoreMatrix
from promptopt.core.model import FrozenModel
from promptopt.errors import ConfigError
from promptopt.metrics.arrays import FloatArray
from promptopt.metrics.intervals import Interval, clopper_pearson_lower, wilson_interval
from promptopt.metrics.ranking import average_precision
from promptopt.policy.jury import LogOddsScale
from promptopt.policy.jury import pool as opinion_pool
from promptopt.search.lockstep import LockstepConfig, LockstepRacer

JURORS = 3
WITHIN_POINTS = 0.5
BUDGET_FACTORS = (0.5, 1.0, 2.0)
_RESAMPLES = 2000
_ROUNDING = 1e-9


class ReplaySettings(FrozenModel):
    """What is replayed.

    Attributes:
        seeds: Replays; each draws its own candidates and orders.
        budget: Judgements allowed, as a share of the full grid of a replay.
        candidates: Share of the matrix's candidates in each replay, so that replays differ.
        policies: Names of policies.
    """

    seeds: int = Field(default=30, ge=1)
    budget: float = Field(default=0.1, gt=0.0, le=1.0)
    candidates: float = Field(default=0.9, gt=0.0, le=1.0)
    policies: tuple[str, ...] = tuple(POLICIES)


class ReplayRow(FrozenModel):
    """One policy on one seed.

    Attributes:
        policy: Its name.
        budget: Judgements allowed, as a share of the grid.
        seed: The seed.
        chosen: Digest of the candidate that it picked.
        auprc: The pick's AUPRC on all cases.
        best_auprc: The highest AUPRC in the pool.
        regret: What is missing, in AUPRC points (hundredths).
        jurors: Size of the jury of the pick and the next best, three where so many were judged on all cases.
        jury_auprc: The jury's AUPRC on all cases.
        jury_regret: What it lacks to the best single candidate, in points; below 0 where it is better.
        judgements: Judgements used.
        share: The same, as a share of the grid.
        seconds: Time that the policy itself took.
    """

    policy: str
    budget: float
    seed: int
    chosen: str
    auprc: float
    best_auprc: float
    regret: float
    jurors: int
    jury_auprc: float
    jury_regret: float
    judgements: int
    share: float
    seconds: float


class PolicySummary(FrozenModel):
    """One policy over all seeds at one budget.

    Attributes:
        policy: Its name.
        budget: Judgements allowed, as a share of the grid.
        within: Share of seeds within half an AUPRC point of the pool's best; Wilson's interval.
        jury_within: The same of the jury.
        jury_mean_regret: The jury's; this and the next three in points, with percentile bootstrap intervals over seeds.
        mean_regret: In points.
        median_regret: In points.
        p95_regret: In points.
        judgements: Used, on average.
        share: The same, as a share of the grid.
        seconds: Time that the policy itself took, on average.
    """

    policy: str
    budget: float
    within: Interval
    jury_within: Interval
    jury_mean_regret: Interval
    mean_regret: Interval
    median_regret: Interval
    p95_regret: Interval
    judgements: float
    share: float
    seconds: float


class ErrorCheck(FrozenModel):
    """How often the race's tests erred.

    Attributes:
        budget: Judgements allowed, as a share of the grid; 1 is a race that nothing but tests narrows.
        seeds: Races.
        alpha: Bound on the chance that a test drops the best candidate.
        best_dropped_by_test: Races in which one did.
        rate: Share of such races, with an upper 95% bound (Clopper and Pearson) as ``high``.
        best_dropped_by_budget: Races in which the budget left the best candidate no room; no bound covers these.
        dropped_by_test: Candidates that tests dropped, in all races.
        better_than_leader: Of these, candidates that are better than the leader they were dropped for.
        share: Judgements used, as a share of the grid, on average.
    """

    budget: float
    seeds: int
    alpha: float
    best_dropped_by_test: int
    rate: Interval
    best_dropped_by_budget: int
    dropped_by_test: int
    better_than_leader: int
    share: float


class ReplayResult(FrozenModel):
    """Everything that a replay found.

    Attributes:
        settings: What was asked for.
        candidates: Candidates in each replay.
        cases: Cases.
        violations: Violations among them.
        rows: One per policy, budget and seed.
        summaries: One per policy and budget, in the order of the policies.
        errors: The race's errors, at the budget and without one.
        skipped: Budgets of the curve that do not carry a race.
        meta: The matrix's own account of where it comes from, without its list of candidates.
    """

    settings: ReplaySettings
    candidates: int
    cases: int
    violations: int
    rows: tuple[ReplayRow, ...]
    summaries: tuple[PolicySummary, ...]
    errors: tuple[ErrorCheck, ...]
    skipped: tuple[float, ...]
    meta: dict[str, object]

    @property
    def main(self) -> tuple[PolicySummary, ...]:
        """Summaries at the budget that was asked for."""
        return tuple(summary for summary in self.summaries if summary.budget == self.settings.budget)


def replay(matrix: ScoreMatrix, settings: ReplaySettings, tell: Callable[[int, int], None]) -> ReplayResult:
    """Replays every policy on every seed, at the budget and, for the curve, at half and twice as much.

    Args:
        matrix: The scores.
        settings: What to replay.
        tell: Told steps done and steps in all.

    Returns:
        The result; all but the seconds is determined by matrix and settings.

    Raises:
        ConfigError: An unknown policy, or a budget that does not carry one look at every candidate.
    """
    if unknown := [name for name in settings.policies if name not in POLICIES]:
        raise ConfigError(f"no policy {unknown[0]!r}", where="methods", remedy=f"choose from {', '.join(POLICIES)}")
    budgets, skipped = _budgets(matrix, settings)
    rows: list[ReplayRow] = []
    checks: dict[float, list[_Raced]] = {settings.budget: [], 1.0: []}
    steps = settings.seeds * (len(budgets) * len(settings.policies) + len(checks))
    done = 0
    for seed in range(settings.seeds):
        pool = ReplayPool.draw(matrix, settings.candidates, seed)
        for budget in budgets:
            for policy in settings.policies:
                rows.append(_row(pool, policy, budget, seed))
                tell(done := done + 1, steps)
        for budget, raced in checks.items():
            ledger = Ledger(pool, pool.allowance(budget))
            raced.append(_Raced(pool, race(pool, ledger, seed, LockstepConfig(budget=budget))))
            tell(done := done + 1, steps)
    order = {name: i for i, name in enumerate(settings.policies)}
    groups: dict[tuple[str, float], list[ReplayRow]] = {}
    for row in sorted(rows, key=lambda row: (order[row.policy], row.budget, row.seed)):
        groups.setdefault((row.policy, row.budget), []).append(row)
    return ReplayResult(
        settings=settings,
        candidates=pool.size[0],
        cases=pool.size[1],
        violations=int(matrix.labels.sum()),
        rows=tuple(row for group in groups.values() for row in group),
        summaries=tuple(_summary(group) for group in groups.values()),
        errors=tuple(_error_check(budget, raced) for budget, raced in checks.items()),
        skipped=tuple(skipped),
        meta={name: value for name, value in matrix.meta.items() if name != "candidates"},
    )


class _Raced:
    """What is kept of a race."""

    def __init__(self, pool: ReplayPool, racer: LockstepRacer) -> None:
        tests = [d for d in racer.drops if d.why == "test"]
        others = [d for d in racer.drops if d.why != "test"]
        best = pool.truth.max()
        self.tests = len(tests)
        # equally good candidates may well be dropped for one another
        self.wrong = sum(pool.truth[int(d.candidate)] > pool.truth[int(d.leader)] for d in tests)
        self.best_tested = any(pool.truth[int(d.candidate)] == best and pool.truth[int(d.leader)] < best for d in tests)
        left = [pool.truth[int(name)] for name in racer.alive]
        gone = {int(d.candidate) for d in others}
        self.best_narrowed = max(left, default=0.0) < best and any(pool.truth[i] == best for i in gone)
        self.share = racer.spent / (pool.size[0] * pool.size[1])


def _budgets(matrix: ScoreMatrix, settings: ReplaySettings) -> tuple[list[float], list[float]]:
    """Budgets that carry a race, and those of the curve that do not."""
    pool = ReplayPool.draw(matrix, settings.candidates, 0)
    names = [str(i) for i in range(pool.size[0])]
    kept, skipped = [], []
    for budget in dict.fromkeys(min(1.0, factor * settings.budget) for factor in BUDGET_FACTORS):
        try:
            LockstepRacer(names, pool.cases, LockstepConfig(budget=budget), 0)
        except ConfigError:
            if budget == settings.budget:
                raise
            skipped.append(budget)
        else:
            kept.append(budget)
    return kept, skipped


def _row(pool: ReplayPool, policy: str, budget: float, seed: int) -> ReplayRow:
    ledger = Ledger(pool, pool.allowance(budget))
    began = time.perf_counter()
    ranked = POLICIES[policy](pool, ledger, seed)
    seconds = time.perf_counter() - began
    chosen, jury = ranked[0], ranked[:JURORS]
    best, found, pooled = float(pool.truth.max()), float(pool.truth[chosen]), _jury_auprc(pool, jury)
    return ReplayRow(
        policy=policy,
        budget=budget,
        seed=seed,
        chosen=pool.digests[chosen],
        auprc=found,
        best_auprc=best,
        regret=100 * (best - found),
        jurors=len(jury),
        jury_auprc=pooled,
        jury_regret=100 * (best - pooled),
        judgements=ledger.spent,
        share=ledger.spent / (pool.size[0] * pool.size[1]),
        seconds=seconds,
    )


def _jury_auprc(pool: ReplayPool, members: Sequence[int]) -> float:
    """AUPRC of candidates pooled as a sweep's jury is; every one of them was judged on all cases."""
    scores = [np.exp(pool.scores[member]) for member in members]
    pooled = opinion_pool(scores, [LogOddsScale.of(own) for own in scores])
    return float(np.nan_to_num(average_precision(pool.labels, pooled)))


def _summary(rows: Sequence[ReplayRow]) -> PolicySummary:
    regrets, of_jury = np.array([row.regret for row in rows]), np.array([row.jury_regret for row in rows])
    draws = np.random.default_rng(0).integers(0, len(rows), size=(_RESAMPLES, len(rows)))
    near, jury_near = (int((values <= WITHIN_POINTS + _ROUNDING).sum()) for values in (regrets, of_jury))
    statistics: Mapping[str, tuple[FloatArray, Callable[[FloatArray], FloatArray]]] = {
        "mean_regret": (regrets, lambda values: values.mean(axis=-1)),
        "median_regret": (regrets, lambda values: np.median(values, axis=-1)),
        "p95_regret": (regrets, lambda values: np.quantile(values, 0.95, axis=-1)),
        "jury_mean_regret": (of_jury, lambda values: values.mean(axis=-1)),
    }
    intervals = {}
    for name, (values, statistic) in statistics.items():
        low, high = np.quantile(statistic(values[draws]), [0.025, 0.975])
        intervals[name] = Interval(point=float(statistic(values)), low=float(low), high=float(high), level=0.95)
    return PolicySummary(
        policy=rows[0].policy,
        budget=rows[0].budget,
        within=wilson_interval(near, len(rows)),
        jury_within=wilson_interval(jury_near, len(rows)),
        judgements=float(np.mean([row.judgements for row in rows])),
        share=float(np.mean([row.share for row in rows])),
        seconds=float(np.mean([row.seconds for row in rows])),
        **intervals,
    )


def _error_check(budget: float, raced: Sequence[_Raced]) -> ErrorCheck:
    wrong = sum(one.best_tested for one in raced)
    high = 1 - clopper_pearson_lower(len(raced) - wrong, len(raced))
    return ErrorCheck(
        budget=budget,
        seeds=len(raced),
        alpha=LockstepConfig().alpha,
        best_dropped_by_test=wrong,
        rate=Interval(point=wrong / len(raced), low=0.0, high=high, level=0.95),
        best_dropped_by_budget=sum(one.best_narrowed for one in raced),
        dropped_by_test=sum(one.tests for one in raced),
        better_than_leader=sum(int(one.wrong) for one in raced),
        share=float(np.mean([one.share for one in raced])),
    )
