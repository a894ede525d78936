"""The sweep in races: a field of candidates is proposed, raced on shared blocks of cases and told; then the next.

Everything that a race does is a function of the seed and of the trials on record: a process that is killed in the
middle of one proposes the same field again, finds what was judged in the score store, and goes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np

from promptopt.core.candidate import Candidate
from promptopt.core.case import GoldenCase
from promptopt.core.prompt import LoweredPrompt, judgements_per_case
from promptopt.metrics.arrays import FloatArray, IntArray
from promptopt.policy.procedure import Procedure
from promptopt.search.candidates import CandidateMaker
from promptopt.search.config import SearchConfig
from promptopt.search.evaluators import Evaluators
from promptopt.search.judging import AnsweringJudge
from promptopt.search.lockstep import FINALISTS, LockstepRacer
from promptopt.search.proposers.base import History, Incumbent, Proposal, Proposer, Tried
from promptopt.search.race_blocks import RaceCases, race_blocks
from promptopt.search.race_budget import RaceBudget
from promptopt.search.study import SweepStudy, TrialRecord
from promptopt.search.sweep import (
    MAX_REPEATS_IN_A_ROW,
    Constraints,
    SweepResult,
    SweepWatcher,
    limit_reached,
    sweep_result,
)
from promptopt.search.trials import trial_record
from promptopt.search.weighing import is_unfitted

_CASES_TO_FIT_ON = 40  # weights from fewer cases say next to nothing about those from all
SAMPLER = "tpe"


@dataclass
class Entrant:
    """A candidate in a race.

    Attributes:
        number: Its trial; that of its first for an incumbent.
        proposal: What was proposed.
        candidate: What it came to.
        prompts: Its lowered prompts.
        procedure: How its answers become a probability of violation.
        scores: Probability of violation on every search case, NaN where not judged (yet), (cases,).
        estimates: AUPRC on all search cases as estimated after each block.
    """

    number: int
    proposal: Proposal
    candidate: Candidate
    prompts: tuple[LoweredPrompt, ...]
    procedure: Procedure
    scores: FloatArray
    estimates: list[float] = field(default_factory=list)


class LockstepSweep:
    """A search over candidates in races.

    Args:
        study: The record.
        maker: Makes candidates and programs from points.
        evaluators: Score them.
        judge: A judge, asked for what has been spent.
        cases: Search cases that candidates are scored on.
        config: Objective, racing and budget.
        seed: Order of cases within blocks, and the proposers' draws.
        proposers: Whom to ask besides Optuna's sampler, and for which share of a field.
        constraints: What a complete candidate has to keep; nothing by default.
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
        proposers: Proposer | None = None,
        constraints: Constraints | None = None,
    ) -> None:
        self._study = study
        self._maker = maker
        self._evaluators = evaluators
        self._judge = judge
        self._config = config
        self._rule = config.racing.lockstep
        self._seed = seed
        self._finalists = max(FINALISTS, config.winner.jury)  # a jury takes members that are judged in full
        self._proposers = proposers
        self._constraints = constraints or (lambda _: {})
        self._race_cases = RaceCases.of(cases)
        self.cases = tuple(cases)
        if maker.fits_weights:
            least = max(self._rule.first_block, min(_CASES_TO_FIT_ON, len(self.cases) // 2))
            self._rule = self._rule.model_copy(update={"first_block": least})
        first = race_blocks(self._race_cases, self._rule.first_block, self._rule.growth, seed)[0]
        self.blocks = [self.cases]  # each race divides them as its own budget allows
        self._budget = RaceBudget(config.budget, self._rule, self._finalists, maker, (len(first), len(self.cases)))

    def run(self, watcher: SweepWatcher) -> SweepResult:
        """Runs races until the budget is spent; a resumed sweep goes on where the last process ended.

        Args:
            watcher: Told about trials and blocks.

        Returns:
            The trials, ranked.

        Raises:
            UserError: The budget is spent and no candidate could be scored on every search case.
        """
        records = self._study.records()
        begun = self._study.has_interrupted_trial  # and paid for, in part or in full, before the budget was spent
        race = 0
        while begun or not (stop := self._stop(records)):
            begun = False
            size = self._budget.field_size(records)
            if size < 1:
                stop = f"budget of {self._config.budget.judge_calls:,} judge calls: the rest carries no further race"
                break
            race += 1
            told = self._race(race, size, records, watcher)
            self._study.tell_race(told)
            for record in told:
                records.append(record)
                watcher.trial_finished(record, records)
        return sweep_result(records, stop, self._maker, len(self.cases), self._config.objective)

    def _stop(self, records: Sequence[TrialRecord]) -> str:
        repeated = len(list(takewhile(lambda record: record.repeats is not None, reversed(records))))
        if repeated >= MAX_REPEATS_IN_A_ROW:
            return f"the last {repeated} proposals were all tried before"
        budget = self._config.budget.model_copy(update={"judge_calls": None})  # which the size of the field keeps
        return limit_reached(budget, sum(r.repeats is None for r in records), self._judge.spent)

    def _race(self, race: int, size: int, records: Sequence[TrialRecord], watcher: SweepWatcher) -> list[TrialRecord]:
        """Runs one race and gives a record for every trial that was asked for."""
        asked = self._propose(size, records)
        known = {record.candidate.digest: record for record in records if record.repeats is None}
        field: dict[str, Entrant] = {}
        for number, proposal, candidate in asked:
            if candidate.digest not in known and candidate.digest not in field:
                field[candidate.digest] = self._entrant(number, proposal, candidate)
                watcher.trial_started(number, candidate)
        finished: dict[str, TrialRecord] = {}
        if field:
            incumbents = {r.candidate.digest: self._returning(r) for r in self._best(records)[: self._rule.incumbents]}
            racer = self._run_race(race, field, incumbents, records, watcher)
            finished = {name: self._record(entrant, racer) for name, entrant in field.items()}
        told = []
        for number, _, candidate in asked:
            record = finished.get(candidate.digest) or known[candidate.digest]
            repeats = None if record.number == number else record.number
            told.append(record.model_copy(update={"number": number, "repeats": repeats}))
        return told

    def _propose(self, size: int, records: Sequence[TrialRecord]) -> list[tuple[int, Proposal, Candidate]]:
        """Asks for a field; every proposal becomes a trial, those that come to a known candidate as repeats."""
        known = {record.candidate.digest for record in records}
        waiting = self._written(size, records)
        asked: list[tuple[int, Proposal, Candidate]] = []
        fresh = idle = 0
        while fresh < size and idle < MAX_REPEATS_IN_A_ROW:
            first = not records and not asked
            written = waiting.pop(0) if waiting and not first else None
            number, point = self._study.propose(None if written is None else written.point)
            proposal = written or Proposal(point, source=SAMPLER)
            candidate = self._maker.candidate(point, proposal.texts)
            asked.append((number, proposal, candidate))
            new = candidate.digest not in known
            known.add(candidate.digest)
            fresh, idle = fresh + new, 0 if new else idle + 1
        self._study.begin()
        return asked

    def _written(self, size: int, records: Sequence[TrialRecord]) -> list[Proposal]:
        """What the other proposers want tried. It is put on record at once: a language model need not write the same
        text twice, and a race that is run again has to be the same race."""
        if self._proposers is None:
            return []
        proposers, seed = self._proposers, self._seed * 100_003 + len(records)
        wanted = size if records else size - 1  # the first place is the seed prompt's
        return self._study.remembered(len(records), lambda: proposers.propose(self._history(records), wanted, seed))

    def _history(self, records: Sequence[TrialRecord]) -> History:
        distinct = [record for record in records if record.repeats is None]
        best = self._best(records)
        incumbent = None
        if best:
            entrant = self._returning(best[0])
            incumbent = Incumbent(self._tried(best[0]), self.cases, entrant.scores)
        return History([self._tried(record) for record in distinct], incumbent)

    def _tried(self, record: TrialRecord) -> Tried:
        value = record.values[0] if record.values else math.nan
        proposal = Proposal(record.point, record.candidate.texts, record.source)
        return Tried(proposal, record.candidate, self._config.objective.goodness(value), record.complete)

    def _best(self, records: Sequence[TrialRecord]) -> list[TrialRecord]:
        complete = [record for record in records if record.complete and record.repeats is None]
        goodness = self._config.objective.goodness
        return sorted(complete, key=lambda record: (not record.feasible, -goodness(record.values[0]), record.number))

    def _entrant(self, number: int, proposal: Proposal, candidate: Candidate) -> Entrant:
        program = self._maker.program(candidate)
        nothing = np.full(len(self.cases), np.nan)
        return Entrant(number, proposal, candidate, program.lower(), program.procedure, nothing)

    def _returning(self, record: TrialRecord) -> Entrant:
        """A complete candidate of an earlier race; what it says is in the score store."""
        entrant = self._entrant(record.number, Proposal(record.point, record.candidate.texts), record.candidate)
        entrant.scores = self._scores(entrant, np.arange(len(self.cases)))
        return entrant

    def _run_race(
        self,
        race: int,
        field: Mapping[str, Entrant],
        incumbents: Mapping[str, Entrant],
        records: Sequence[TrialRecord],
        watcher: SweepWatcher,
    ) -> LockstepRacer:
        everyone = {**incumbents, **field}
        seed_prompt = next((name for name, entrant in field.items() if entrant.number == 0), None)
        racer = LockstepRacer(
            list(everyone),
            self._race_cases,
            self._budget.rule_of_race([judgements_per_case(e.prompts) for e in field.values()], records),
            self._seed,
            costs={name: judgements_per_case(e.prompts) if name in field else 0 for name, e in everyone.items()},
            secondary={name: self._secondary(entrant) for name, entrant in everyone.items()},
            kept=seed_prompt,  # the winner is compared with it, on every search case
            finalists=self._finalists,
        )
        while (block := racer.next_block()) is not None:
            watcher.race_block(race, len(block.candidates), len(racer.rows), len(self.cases))
            for name in block.candidates:
                if name in field:
                    # weights are fitted on what is seen, so that every block may change every score
                    rows = racer.rows if is_unfitted(everyone[name].procedure) else block.rows
                    everyone[name].scores[rows] = self._scores(everyone[name], rows)
            racer.drop({name: everyone[name].scores[racer.rows] for name in block.candidates})
            for name, estimate in racer.estimates.items():
                everyone[name].estimates.append(estimate)
        return racer

    def _secondary(self, entrant: Entrant) -> list[float]:
        """Objectives that are known before any case is judged, larger being better: what a case costs."""
        names = self._config.objective.names
        if len(names) == 1:
            return []
        evaluator = self._evaluators.of(entrant.candidate)
        return [-cost for cost in evaluator.costs_per_case(entrant.prompts, self.cases, names)]

    def _scores(self, entrant: Entrant, rows: IntArray) -> FloatArray:
        evaluator = self._evaluators.of(entrant.candidate)
        return evaluator.scores(entrant.prompts, entrant.procedure, [self.cases[row] for row in rows])

    def _record(self, entrant: Entrant, racer: LockstepRacer) -> TrialRecord:
        """The trial's record; whoever is left at the end is judged on every search case."""
        complete = entrant.candidate.digest in racer.alive
        judged = {drop.candidate: drop.cases for drop in racer.drops}.get(entrant.candidate.digest, len(self.cases))
        seen = self.cases if complete else tuple(self.cases[row] for row in racer.rows[:judged])
        evaluation = self._evaluators.of(entrant.candidate).evaluate(entrant.prompts, entrant.procedure, seen)
        values = evaluation.measured.values(self._config.objective)
        by_auprc = self._config.objective.names[0] == "auprc"
        if by_auprc and not complete:
            values = [entrant.estimates[-1], *values[1:]]  # the blocks hold as many violations as allowed cases
        rungs = [*entrant.estimates[:-1], values[0]] if by_auprc else [values[0]]
        if any(math.isnan(value) for value in [*values, *rungs]):
            complete, rungs = False, []
        record = trial_record(
            entrant.number,
            entrant.candidate,
            evaluation,
            rungs,
            values,
            complete=complete,
            point=entrant.proposal.point,
            source=entrant.proposal.source,
        )
        if by_auprc and rungs:
            record = record.model_copy(update={"metrics": {**record.metrics, "auprc": values[0]}})
        return record.model_copy(update={"constraints": dict(self._constraints(evaluation))}) if complete else record
