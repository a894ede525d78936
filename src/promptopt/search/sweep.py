"""The sweep: ask, lower, judge block by block, measure, race, tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from promptopt.core.candidate import Candidate
from promptopt.core.case import GoldenCase
from promptopt.errors import UserError
from promptopt.scores.store import Spent
from promptopt.search.blocks import stratified_blocks
from promptopt.search.candidates import CandidateMaker
from promptopt.search.config import BudgetConfig, SearchConfig
from promptopt.search.evaluation import Evaluation, Evaluator
from promptopt.search.judging import StoredJudge
from promptopt.search.racing import goes_on
from promptopt.search.study import SweepStudy, TrialRecord

MAX_REPEATS_IN_A_ROW = 25


class SweepWatcher(Protocol):
    """Told what a sweep does, as it does it."""

    def trial_started(self, number: int, candidate: Candidate) -> None:
        """A candidate is about to be judged."""
        ...

    def trial_finished(self, record: TrialRecord, records: Sequence[TrialRecord]) -> None:
        """A trial is on record; ``records`` holds all of them."""
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
        evaluator: Scores them.
        judge: The judge, asked for what has been spent.
        cases: Search cases that candidates are scored on.
        config: Objective, racing and budget.
        seed: Order of cases within blocks.
    """

    def __init__(
        self,
        study: SweepStudy,
        maker: CandidateMaker,
        evaluator: Evaluator,
        judge: StoredJudge,
        cases: Sequence[GoldenCase],
        config: SearchConfig,
        seed: int,
    ) -> None:
        self._study = study
        self._maker = maker
        self._evaluator = evaluator
        self._judge = judge
        self._config = config
        races = config.racing.blocks if len(config.objective.names) == 1 else ()
        self.blocks = stratified_blocks(cases, races, seed)
        self.cases = tuple(case for block in self.blocks for case in block)

    def run(self, watcher: SweepWatcher) -> SweepResult:
        """Runs until the budget is spent; a resumed sweep goes on where the last process ended.

        Args:
            watcher: Told about each trial.

        Returns:
            The trials, ranked.
        """
        records = self._study.records()
        repeats = 0
        while not (stop := self._stop(records)):
            number, point = self._study.ask()
            candidate = self._maker.candidate(point)
            earlier = next((r for r in records if r.candidate == candidate and r.repeats is None), None)
            if earlier is not None:
                record = earlier.model_copy(update={"number": number, "repeats": earlier.number})
                repeats += 1
            else:
                watcher.trial_started(number, candidate)
                record = self._try(number, candidate, records)
                repeats = 0
            self._study.tell(record)
            records.append(record)
            watcher.trial_finished(record, records)
            if repeats >= MAX_REPEATS_IN_A_ROW:
                stop = f"the last {repeats} proposals were all tried before"
                break
        return self._result(records, stop or "")

    def _try(self, number: int, candidate: Candidate, records: Sequence[TrialRecord]) -> TrialRecord:
        program = self._maker.program(candidate)
        prompts = program.lower()
        rungs: list[float] = []
        seen: tuple[GoldenCase, ...] = ()
        for rung, block in enumerate(self.blocks):
            seen += block
            evaluation = self._evaluator.evaluate(prompts, program.procedure, seen)
            value = evaluation.measured.values(self._config.objective)[0]
            if math.isnan(value):
                rungs.clear()
                break
            rungs.append(value)
            rivals = [r.rungs[rung] for r in records if r.repeats is None and len(r.rungs) > rung]
            if rung + 1 < len(self.blocks) and not goes_on(value, rivals, self._config.racing):
                break
        return _record(
            number, candidate, evaluation, rungs, complete=len(rungs) == len(self.blocks), config=self._config
        )

    def _stop(self, records: Sequence[TrialRecord]) -> str:
        return limit_reached(self._config.budget, sum(r.repeats is None for r in records), self._judge.spent)

    def _result(self, records: Sequence[TrialRecord], stop: str) -> SweepResult:
        distinct = [r for r in records if r.repeats is None]
        complete = [r for r in distinct if r.complete]
        if not complete:
            raise UserError(
                f"the sweep ended before any candidate was scored ({stop or 'no trial was made'})",
                remedy="raise search.budget, or look at the unjudged counts and at the search split's positives",
            )
        minimise = self._config.objective.directions[0] == "minimize"
        ranked = sorted(complete, key=lambda r: (r.values[0] if minimise else -r.values[0], r.number))
        questions = {"direct": 1}
        in_full = sum(
            questions.get(str(r.candidate.choices["shape"]), len(self._maker.program(r.candidate).procedure.questions))
            for r in distinct
        ) * len(self.cases)
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
            return f"budget of {limit:g} {name.replace('_', ' ')}"
    return ""


def _record(
    number: int,
    candidate: Candidate,
    evaluation: Evaluation,
    rungs: Sequence[float],
    *,
    complete: bool,
    config: SearchConfig,
) -> TrialRecord:
    metrics = {name: value if math.isfinite(value) else None for name, value in evaluation.measured.metrics().items()}
    return TrialRecord(
        number=number,
        candidate=candidate,
        complete=complete,
        values=tuple(evaluation.measured.values(config.objective)) if rungs else (),
        rungs=tuple(rungs),
        metrics=metrics,
        cases=len(evaluation.cases),
        unjudged=evaluation.measured.summary.unjudged,
    )
