"""After the search: calibrate the finalists, fix the winner's operating point, and open the sealed test once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from promptopt.core.case import GoldenCase, Split
from promptopt.core.model import FrozenModel
from promptopt.core.prompt import LoweredPrompt
from promptopt.golden.golden_set import GoldenSet
from promptopt.metrics.calibration import brier_score, expected_calibration_error
from promptopt.metrics.intervals import Interval, bootstrap_interval, paired_bootstrap_difference, wilson_interval
from promptopt.metrics.operating_point import OperatingPoint, confusion, recall_at_precision
from promptopt.metrics.ranking import average_precision, roc_auc
from promptopt.policy.procedure import Procedure
from promptopt.search.candidates import CandidateMaker
from promptopt.search.evaluation import Evaluation, Evaluator
from promptopt.search.objective import ObjectiveConfig
from promptopt.search.openings import OpeningRecord, TestOpening
from promptopt.search.operating import OperatingPointConfig, Operation, check_unseen, fit_operation
from promptopt.search.study import TrialRecord
from promptopt.search.sweep import SweepResult

FloatArray = npt.NDArray[np.float64]


class SplitReport(FrozenModel):
    """What a candidate scores on one split.

    Attributes:
        cases: Cases in the split.
        positives: Violations among them.
        unjudged: Cases without a verdict.
        metrics: ``auprc``, ``auroc`` and ``recall_at_precision`` (refitted on the split itself), and ``precision``,
            ``recall`` and ``f1`` at the operating point that was fixed on the calibration split, ``brier`` and
            ``ece`` of the calibrated probabilities; 95% intervals, by bootstrap over groups and by Wilson's method
            for the two proportions. A bootstrap's calibration error is biased upwards.
    """

    cases: int
    positives: int
    unjudged: int
    metrics: dict[str, Interval]


@dataclass(frozen=True, slots=True)
class Finalist:
    """A candidate with everything a bundle needs.

    Attributes:
        record: Its trial.
        prompts: Its lowered prompts.
        procedure: How its answers become a probability of violation.
        search: Its scores on the search cases.
        calibration: Its scores on the calibration split.
        operation: Calibrator, threshold and certificate, from the calibration split.
        reports: What it scores, by split; ``test`` only for the seed prompt and the winner.
    """

    record: TrialRecord
    prompts: tuple[LoweredPrompt, ...]
    procedure: Procedure
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
        winner: The winner; the seed prompt itself when nothing beat it in the search.
        finalists: The best candidates of the search, the winner first.
        tests: Candidate digest to its scores on the test split.
        difference: AUPRC of the winner minus that of the seed prompt, paired, with a 95% interval.
        openings: Every opening of this test split on record, earlier sweeps' included.
    """

    seed: Finalist
    winner: Finalist
    finalists: tuple[Finalist, ...]
    tests: dict[str, Evaluation]
    difference: Interval
    openings: tuple[TestOpening, ...]


class FinalRound:
    """Calibrates the finalists and compares the winner with the seed prompt.

    Args:
        maker: Makes programs from candidates.
        evaluator: Scores them.
        golden: The golden set.
        search_cases: The search cases that candidates were scored on.
        objective: Gives the precision floor.
        operating_point: How thresholds are chosen.
    """

    def __init__(
        self,
        maker: CandidateMaker,
        evaluator: Evaluator,
        golden: GoldenSet,
        search_cases: Sequence[GoldenCase],
        objective: ObjectiveConfig,
        operating_point: OperatingPointConfig | None = None,
    ) -> None:
        self._maker = maker
        self._evaluator = evaluator
        self._golden = golden
        self._search_cases = search_cases
        self._floor = objective.precision_floor
        self._operating_point = operating_point or OperatingPointConfig()
        if self._operating_point.certified:
            check_unseen(golden.split(Split.CALIBRATION), search_cases)

    def run(self, result: SweepResult, finalists: int, openings: OpeningRecord, sweep: str) -> FinalComparison:
        """Runs the final round.

        Args:
            result: The sweep's result.
            finalists: How many of the best candidates to calibrate.
            openings: Where the opening of the test split is recorded, before it is read.
            sweep: Name of the sweep.

        Returns:
            The comparison. Only the seed prompt and the winner are scored on the test split.
        """
        ranked = result.ranked[:finalists]
        best = [self._calibrate(record, winner=place == 0) for place, record in enumerate(ranked)]
        seed = next((f for f in best if f.digest == result.seed.candidate.digest), None)
        seed = seed or self._calibrate(result.seed)
        tests: dict[str, Evaluation] = {}
        tested: dict[str, Finalist] = {}
        for finalist in (seed, best[0]):
            if finalist.digest in tests:
                continue
            openings.open(
                why="final comparison of a sweep", sweep=sweep, candidate=finalist.digest, golden=self._golden.digest
            )
            cases = self._golden.split(Split.TEST)
            evaluation = self._evaluator.evaluate(finalist.prompts, finalist.procedure, cases)
            tests[finalist.digest] = evaluation
            report = self._report(evaluation, finalist.operation)
            tested[finalist.digest] = replace(finalist, reports={**finalist.reports, Split.TEST: report})
        seed = tested[seed.digest]
        ordered = tuple(tested.get(f.digest, f) for f in best)
        return FinalComparison(
            seed=seed,
            winner=ordered[0],
            finalists=ordered,
            tests=tests,
            difference=_difference(tests[seed.digest], tests[ordered[0].digest]),
            openings=tuple(openings.all(self._golden.digest)),
        )

    def _calibrate(self, record: TrialRecord, *, winner: bool = False) -> Finalist:
        program = self._maker.program(record.candidate)
        prompts, procedure = program.lower(), program.procedure
        search = self._evaluator.evaluate(prompts, procedure, self._search_cases)
        calibration = self._evaluator.evaluate(prompts, procedure, self._golden.split(Split.CALIBRATION))
        # Only the winner is deployed: that another finalist cannot be certified is no reason to fail.
        required = winner and self._operating_point.require
        config = self._operating_point.model_copy(update={"require": required})
        operation = fit_operation(calibration, config, self._floor)
        return Finalist(
            record=record,
            prompts=prompts,
            procedure=procedure,
            search=search,
            calibration=calibration,
            operation=operation,
            reports={
                Split.SEARCH: self._report(search, operation),
                Split.CALIBRATION: self._report(calibration, operation),
            },
        )

    def _report(self, evaluation: Evaluation, operation: Operation) -> SplitReport:
        point = operation.point
        labels, scores = evaluation.labels, operation.probabilities(evaluation.scores)
        groups = [case.group for case in evaluation.cases]
        found = confusion(labels, scores, point.threshold)
        bootstrap = partial(bootstrap_interval, labels, groups=groups)
        return SplitReport(
            cases=len(evaluation.cases),
            positives=int(labels.sum()),
            unjudged=evaluation.measured.summary.unjudged,
            metrics={
                "auprc": bootstrap(evaluation.scores, average_precision),
                "auroc": bootstrap(evaluation.scores, roc_auc),
                "recall_at_precision": bootstrap(evaluation.scores, partial(recall_at_precision, floor=self._floor)),
                "precision": wilson_interval(found.tp, found.tp + found.fp),
                "recall": wilson_interval(found.tp, found.tp + found.fn),
                "f1": bootstrap(scores, partial(_f1_at, threshold=point.threshold)),
                "brier": bootstrap(scores, brier_score),
                "ece": bootstrap(scores, expected_calibration_error),
            },
        )


def _f1_at(labels: npt.NDArray[np.bool_], scores: FloatArray, *, threshold: float) -> float:
    return confusion(labels, scores, threshold).f1


def _difference(seed: Evaluation, winner: Evaluation) -> Interval:
    groups = [case.group for case in seed.cases]
    return paired_bootstrap_difference(seed.labels, seed.scores, winner.scores, average_precision, groups=groups)
