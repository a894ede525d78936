"""After the search: calibrate the finalists, fix the winner's operating point, and open the sealed test once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from promptopt.core.candidate import Candidate
from promptopt.core.case import GoldenCase, Split
from promptopt.core.prompt import LoweredPrompt
from promptopt.golden.golden_set import GoldenSet
from promptopt.metrics.intervals import Interval, paired_bootstrap_difference
from promptopt.metrics.operating_point import OperatingPoint
from promptopt.metrics.ranking import average_precision
from promptopt.policy.jury import JuryProcedure, LogOddsScale
from promptopt.policy.procedure import Procedure
from promptopt.programs.jury import PromptJury
from promptopt.search.candidates import CandidateMaker
from promptopt.search.config import SearchConfig
from promptopt.search.evaluation import Evaluation
from promptopt.search.evaluators import Evaluators
from promptopt.search.openings import OpeningRecord, TestOpening
from promptopt.search.operating import Operation, check_unseen, fit_operation
from promptopt.search.split_report import SplitReport, report_split
from promptopt.search.study import TrialRecord
from promptopt.search.sweep import SweepResult
from promptopt.search.trials import trial_record
from promptopt.search.weighing import is_unfitted, weigh
from promptopt.search.winner import Lead, SearchScores, Winner, choose_winner

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Finalist:
    """A candidate with everything a bundle needs.

    Attributes:
        record: Its trial; a jury's is made up from its members', with the number of the first.
        prompts: Its lowered prompts.
        procedure: How its answers become a probability of violation.
        search: Its scores on the search cases.
        calibration: Its scores on the calibration split.
        operation: Calibrator, threshold and certificate, from the calibration split.
        reports: What it scores, by split; ``test`` only for the seed prompt and the winner.
    """

    record: TrialRecord
    prompts: tuple[LoweredPrompt, ...]
    procedure: Procedure | JuryProcedure
    search: Evaluation
    calibration: Evaluation
    operation: Operation
    reports: dict[Split, SplitReport]

    @property
    def digest(self) -> str:
        """The candidate's digest."""
        return self.record.candidate.digest

    @property
    def operating_point(self) -> OperatingPoint:
        """Threshold on calibrated scores."""
        return self.operation.point

    def calibrated(self, evaluation: Evaluation) -> FloatArray:
        """Calibrated probabilities of violation."""
        return self.operation.probabilities(evaluation.scores)


@dataclass(frozen=True, slots=True)
class FinalComparison:
    """The seed prompt against the winner on the sealed test.

    Attributes:
        seed: The seed prompt.
        winner: The winner; the seed prompt itself when nothing stood out from it in the search.
        finalists: The winner, then the best candidates of the search.
        lead: How far the best candidate led the seed prompt on the search cases; None where nothing was asked of it.
        jury_gap: See :class:`promptopt.search.winner.Winner`.
        tests: Candidate digest to its scores on the test split.
        difference: AUPRC of the winner minus that of the seed prompt, paired, with a 95% interval.
        openings: Every opening of this test split on record, earlier sweeps' included.
    """

    seed: Finalist
    winner: Finalist
    finalists: tuple[Finalist, ...]
    lead: Lead | None
    jury_gap: float | None
    tests: dict[str, Evaluation]
    difference: Interval
    openings: tuple[TestOpening, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Entrant:
    """A candidate, or a jury, with what it scores on the search cases, and whether these scores are cross-fitted."""

    record: TrialRecord
    prompts: tuple[LoweredPrompt, ...]
    procedure: Procedure | JuryProcedure
    search: Evaluation
    is_crossfitted: bool = False

    @property
    def digest(self) -> str:
        return self.record.candidate.digest


class FinalRound:
    """Calibrates the finalists and compares the winner with the seed prompt.

    Args:
        maker: Makes programs from candidates.
        evaluators: Score them.
        golden: The golden set.
        search_cases: The search cases that candidates were scored on.
        config: How the winner and its threshold are chosen.
    """

    def __init__(
        self,
        maker: CandidateMaker,
        evaluators: Evaluators,
        golden: GoldenSet,
        search_cases: Sequence[GoldenCase],
        config: SearchConfig,
    ) -> None:
        self._maker = maker
        self._evaluators = evaluators
        self._golden = golden
        self._search_cases = search_cases
        self._config = config
        self._floor = config.objective.precision_floor
        if config.operating_point.certified:
            check_unseen(golden.split(Split.CALIBRATION), search_cases)

    def run(self, result: SweepResult, openings: OpeningRecord, sweep: str) -> FinalComparison:
        """Runs the final round.

        Args:
            result: The sweep's result.
            openings: Where the opening of the test split is recorded, before it is read.
            sweep: Name of the sweep.

        Returns:
            The comparison. Only the seed prompt and the winner are scored on the test split.
        """
        config = self._config
        ranked = [self._entrant(record) for record in result.ranked]
        first = next((entrant for entrant in ranked if entrant.record == result.seed), None)
        first = first or self._entrant(result.seed)
        won, chosen = self._choose(ranked, first)
        known = ranked[: max(config.finalists, config.winner.jury)]
        others = [entrant for entrant in known if entrant.digest != won.digest]
        winner = self._calibrate(won, winner=True)
        ordered = [winner, *map(self._calibrate, others[: config.finalists - 1])]
        seed = next((f for f in ordered if f.digest == first.digest), None) or self._calibrate(first)
        tests, tested = self._open_test((seed, winner), openings, sweep)
        return FinalComparison(
            seed=tested[seed.digest],
            winner=tested[winner.digest],
            finalists=tuple(tested.get(f.digest, f) for f in ordered),
            lead=chosen.lead,
            jury_gap=chosen.jury_gap,
            tests=tests,
            difference=_difference(tests[seed.digest], tests[winner.digest]),
            openings=tuple(openings.all(self._golden.digest)),
        )

    def _choose(self, ranked: Sequence[_Entrant], seed: _Entrant) -> tuple[_Entrant, Winner]:
        """The winner among the candidates judged in full, and how it was chosen."""
        eligible = seed in ranked and (seed.record.feasible or not ranked[0].record.feasible)
        scores = SearchScores(
            labels=ranked[0].search.labels,
            groups=[case.group for case in self._search_cases],
            ranked=[entrant.search.scores for entrant in ranked],
            seed_rank=ranked.index(seed) if eligible else None,
            crossfitted=[entrant.is_crossfitted for entrant in ranked],
        )
        winner = choose_winner(scores, self._config.objective, self._config.winner)
        members = [ranked[place] for place in winner.members]
        return members[0] if len(members) == 1 else self._jury(members), winner

    def _entrant(self, record: TrialRecord) -> _Entrant:
        program = self._maker.program(record.candidate)
        search = self._evaluators.of(record.candidate).evaluate(program.lower(), program.procedure, self._search_cases)
        return _Entrant(record, program.lower(), program.procedure, search, is_unfitted(program.procedure))

    def _weighed(self, entrant: _Entrant) -> _Entrant:
        """The entrant with the weights that suit the search cases, if it has some."""
        if not isinstance(entrant.procedure, Procedure):
            return entrant
        procedure = weigh(entrant.procedure, entrant.search.answers.probabilities, self._search_cases)
        return replace(entrant, procedure=procedure)

    def _jury(self, chosen: Sequence[_Entrant]) -> _Entrant:
        members = [self._weighed(one) for one in chosen]
        programs = [self._maker.program(member.record.candidate) for member in members]
        for program, member in zip(programs, members, strict=True):
            if isinstance(member.procedure, Procedure):
                program.procedure = member.procedure  # with its weights, where it has some
        jury = PromptJury(programs, [LogOddsScale.of(member.search.scores) for member in members])
        search = self._evaluators.of(members[0].record.candidate).evaluate(
            jury.lower(), jury.procedure, self._search_cases
        )
        values = search.measured.values(self._config.objective)
        candidate = Candidate(
            choices={f"member_{place}": member.digest for place, member in enumerate(members, start=1)},
            demos=tuple(dict.fromkeys(demo for member in members for demo in member.record.candidate.demos)),
        )
        number = members[0].record.number
        record = trial_record(number, candidate, search, values[:1], values, complete=True, source="jury")
        return _Entrant(record, jury.lower(), jury.procedure, search)

    def _open_test(
        self, finalists: Sequence[Finalist], openings: OpeningRecord, sweep: str
    ) -> tuple[dict[str, Evaluation], dict[str, Finalist]]:
        """Scores finalists on the sealed test, each opening being recorded before the split is read."""
        tests: dict[str, Evaluation] = {}
        tested: dict[str, Finalist] = {}
        for finalist in finalists:
            if finalist.digest in tests:
                continue
            openings.open(
                why="final comparison of a sweep", sweep=sweep, candidate=finalist.digest, golden=self._golden.digest
            )
            cases = self._golden.split(Split.TEST)
            evaluation = self._evaluate(finalist, cases)
            tests[finalist.digest] = evaluation
            report = report_split(evaluation, finalist.operation, self._floor)
            tested[finalist.digest] = replace(finalist, reports={**finalist.reports, Split.TEST: report})
        return tests, tested

    def _calibrate(self, entrant: _Entrant, *, winner: bool = False) -> Finalist:
        entrant = self._weighed(entrant)
        calibration = self._evaluate(entrant, self._golden.split(Split.CALIBRATION))
        # Only the winner is deployed: that another finalist cannot be certified is no reason to fail.
        required = winner and self._config.operating_point.require
        config = self._config.operating_point.model_copy(update={"require": required})
        operation = fit_operation(calibration, config, self._floor)
        return Finalist(
            record=entrant.record,
            prompts=entrant.prompts,
            procedure=entrant.procedure,
            search=entrant.search,
            calibration=calibration,
            operation=operation,
            reports={
                Split.SEARCH: report_split(entrant.search, operation, self._floor),
                Split.CALIBRATION: report_split(calibration, operation, self._floor),
            },
        )

    def _evaluate(self, one: _Entrant | Finalist, cases: Sequence[GoldenCase]) -> Evaluation:
        return self._evaluators.of(one.record.candidate).evaluate(one.prompts, one.procedure, cases)


def _difference(seed: Evaluation, winner: Evaluation) -> Interval:
    groups = [case.group for case in seed.cases]
    return paired_bootstrap_difference(seed.labels, seed.scores, winner.scores, average_precision, groups=groups)
