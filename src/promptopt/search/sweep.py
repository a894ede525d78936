"""The sweep: ask, lower, judge block by block, measure, race, tell."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

from promptopt.core.candidate import Candidate, Choice
from promptopt.core.case import GoldenCase
from promptopt.errors import UserError
from promptopt.scores.store import Spent
from promptopt.search.blocks import stratified_blocks
from promptopt.search.candidates import CandidateMaker
from promptopt.search.config import BudgetConfig, SearchConfig
from promptopt.search.evaluation import Evaluation
from promptopt.search.evaluators import Evaluators
from promptopt.search.judging import AnsweringJudge
from promptopt.search.objective import ObjectiveConfig
from promptopt.search.racing import goes_on
from promptopt.search.study import SweepStudy, TrialRecord
from promptopt.search.trials import trial_record

MAX_REPEATS_IN_A_ROW = 25
Constraints = Callable[[Evaluation], Mapping[str, float]]


class SweepWatcher(Protocol):
    """Told what a sweep does, as it does it."""

    def trial_started(self, number: int, candidate: Candidate) -> None:
        """A candidate is about to be judged."""
        ...

    def trial_finished(self, record: TrialRecord, records: Sequence[TrialRecord]) -> None:
        """A trial is on record; ``records`` holds all of them."""
        ...

    def race_block(self, race: int, candidates: int, cases: int, of_cases: int) -> None:
        """Race number so and so: so many candidates are in it and meet the cases up to this number of all."""
        ...


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep found.

    Attributes:
        records: Every finished trial.
        seed: The seed prompt's record.
        ranked: Distinct candidates scored on every search case, the best first.
        stopped_by: Which limit ended the sweep, in words.
        judgements_in_full: Judgements that scoring every candidate on every search case would take.
    """

    records: tuple[TrialRecord, ...]
    seed: TrialRecord
    ranked: tuple[TrialRecord, ...]
    stopped_by: str
    judgements_in_full: int


class Sweep:
    """A search over candidates.

    Args:
        study: The record.
        maker: Makes candidates and programs from points.
        evaluators: Score them.
        judge: A judge, asked for what has been spent.
        cases: Search cases that candidates are scored on.
        config: Objective, racing and budget.
        seed: Order of cases within blocks.
        constraints: What a complete candidate lacks; nothing by default.
    """

    def __init__(
        self,
        study: SweepStudy,
        maker: CandidateMaker,
        evaluators: Evaluators,
        judge: AnsweringJudge,
        cases: Sequence[GoldenCase],
        config: SearchConfig,
        seed: int,
        constraints: Constraints | None = None,
    ) -> None:
        self._study = study
        self._maker = maker
        self._evaluators = evaluators
        self._judge = judge
        self._config = config
        self._constraints = constraints or (lambda _: {})
        races = config.racing.blocks if len(config.objective.names) == 1 else ()
        self.blocks = stratified_blocks(cases, races, seed)
        self.cases = tuple(case for block in self.blocks for case in block)

    def run(self, watcher: SweepWatcher) -> SweepResult:
        """Runs until the budget is spent; a resumed sweep goes on where the last process ended.

        Args:
            watcher: Told about each trial.

        Returns:
            The trials, ranked.

        Raises:
            UserError: The budget is spent and no candidate could be scored on every search case.
        """
        records = self._study.records()
        begun = self._study.has_interrupted_trial  # and paid for, in part or in full, before the budget was spent
        while begun or not (stop := self._stop(records)):
            begun = False
            number, point = self._study.ask()
            candidate = self._maker.candidate(point)
            earlier = next((r for r in records if r.candidate == candidate and r.repeats is None), None)
            if earlier is not None:
                record = earlier.model_copy(update={"number": number, "repeats": earlier.number})
            else:
                watcher.trial_started(number, candidate)
                record = self._try(number, point, records)
            self._study.tell(record)
            records.append(record)
            watcher.trial_finished(record, records)
        return self._result(records, stop)

    def _try(self, number: int, point: Mapping[str, Choice], records: Sequence[TrialRecord]) -> TrialRecord:
        candidate = self._maker.candidate(point)
        program = self._maker.program(candidate)
        prompts = program.lower()
        evaluator = self._evaluators.of(candidate)
        objective = self._config.objective
        rungs: list[float] = []
        seen: tuple[GoldenCase, ...] = ()
        for rung, block in enumerate(self.blocks):
            seen += block
            evaluation = evaluator.evaluate(prompts, program.procedure, seen)
            values = evaluation.measured.values(objective)
            if any(math.isnan(value) for value in values):
                rungs.clear()
                break
            rungs.append(values[0])
            rivals = [objective.goodness(r.rungs[rung]) for r in records if r.repeats is None and len(r.rungs) > rung]
            last = rung + 1 == len(self.blocks)
            if not last and not goes_on(objective.goodness(values[0]), rivals, self._config.racing):
                break
        complete = len(rungs) == len(self.blocks)
        lacking = self._constraints(evaluation) if complete else {}
        record = trial_record(number, candidate, evaluation, rungs, values, complete=complete, point=point)
        return record.model_copy(update={"constraints": dict(lacking)})

    def _stop(self, records: Sequence[TrialRecord]) -> str:
        repeated = len(list(takewhile(lambda record: record.repeats is not None, reversed(records))))
        if repeated >= MAX_REPEATS_IN_A_ROW:
            return f"the last {repeated} proposals were all tried before"
        return limit_reached(self._config.budget, sum(r.repeats is None for r in records), self._judge.spent)

    def _result(self, records: Sequence[TrialRecord], stop: str) -> SweepResult:
        return sweep_result(records, stop, self._maker, len(self.cases), self._config.objective)


def sweep_result(
    records: Sequence[TrialRecord], stop: str, maker: CandidateMaker, cases: int, objective: ObjectiveConfig
) -> SweepResult:
    """Ranks what was tried.

    Args:
        records: Every finished trial, the seed prompt's first.
        stop: Which limit ended the sweep.
        maker: Knows how many questions a candidate asks.
        cases: Search cases that candidates are scored on.
        objective: What is optimised.

    Returns:
        The result: candidates that keep every constraint come before those that do not.

    Raises:
        UserError: No candidate was scored on every search case.
    """
    distinct = [r for r in records if r.repeats is None]
    complete = [r for r in distinct if r.complete]
    if not complete:
        raise _nothing_scored(distinct, stop)
    ranked = sorted(complete, key=lambda r: (not r.feasible, -objective.goodness(r.values[0]), r.number))
    in_full = sum(maker.questions(r.candidate) for r in distinct) * cases
    return SweepResult(tuple(records), distinct[0], tuple(ranked), stop, in_full)


def limit_reached(budget: BudgetConfig, trials: int, spent: Spent) -> str:
    """Names the first limit that is reached, or returns an empty string."""
    facts = (
        ("trials", budget.trials, trials),
        ("judge_calls", budget.judge_calls, spent.judgements),
        ("tokens", budget.tokens, spent.tokens_computed),
        ("seconds", budget.seconds, spent.seconds),
    )
    for name, limit, value in facts:
        if limit is not None and value >= limit:
            return f"budget of {limit:,.12g} {name.replace('_', ' ')}"
    return ""


def _nothing_scored(distinct: Sequence[TrialRecord], stop: str) -> UserError:
    if not distinct:
        return UserError(
            f"no candidate was tried ({stop}, already spent under this name)",
            remedy="raise search.budget, or set name=... to start a new sweep",
        )
    seed = distinct[0]
    if seed.unjudged == seed.cases:
        return UserError(
            f"the judge gave no verdict on any of the {seed.cases} cases it was asked about with the seed prompt "
            f"({seed.unjudged_reason}), and no other candidate was scored either ({stop})",
            remedy="check the judge's context length and judge.max_item_tokens, or shorten the seed prompt",
        )
    return UserError(
        f"none of {len(distinct)} candidates was scored on every search case ({stop})",
        remedy="look at their unjudged counts and at how many violations the search split has",
    )
