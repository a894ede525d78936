"""What methods without racing share: every candidate on every search case, and the best of them so far."""

from __future__ import annotations

import math

import numpy as np

from promptopt.core.candidate import Candidate
from promptopt.metrics.arrays import FloatArray
from promptopt.metrics.ranking import average_precision
from promptopt.programs.program import JudgementProgram
from promptopt.search.baselines.base import BudgetSpentError, SearchTask


class BestInFull:
    """Judges candidates in full and remembers the best.

    Args:
        task: The task.

    Attributes:
        spent: True once a candidate could not be afforded.
        program: The best program so far; the seed prompt's before anything was judged.
        judged: Every program judged, with its AUPRC and its scores, (cases,), in order.
    """

    def __init__(self, task: SearchTask) -> None:
        self._task = task
        self._labels = np.array([case.is_violation for case in task.cases], dtype=np.bool_)
        self._values: dict[str, float] = {}
        self._best = -math.inf
        self.spent = False
        self.program: JudgementProgram = task.seed_program()
        self.judged: list[tuple[JudgementProgram, float, FloatArray]] = []

    def knows(self, candidate: Candidate) -> bool:
        """Whether the candidate was judged before."""
        return candidate.digest in self._values

    def look_at(self, candidate: Candidate) -> float:
        """AUPRC on the search cases; NaN where it is undefined, or where the budget does not carry the candidate."""
        if candidate.digest in self._values:
            return self._values[candidate.digest]
        program = self._task.maker.program(candidate)
        try:
            scores = self._task.meter.scores_to_compare(program, self._task.cases)
        except BudgetSpentError:
            self.spent = True
            return math.nan
        value = average_precision(self._labels, scores)
        self._values[candidate.digest] = value
        self.judged.append((program, value, scores))
        if value > self._best:
            self._best, self.program = value, program
        return value
