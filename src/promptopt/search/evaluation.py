"""Scores a candidate on cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from promptopt.core.case import GoldenCase
from promptopt.core.prompt import LoweredPrompt
from promptopt.engines.base import JudgeEngine
from promptopt.policy.asking import queries_for
from promptopt.policy.jury import JuryProcedure
from promptopt.policy.procedure import Procedure
from promptopt.policy.reasoning import count_queries
from promptopt.search.judging import AnsweringJudge, StoredAnswers
from promptopt.search.objective import Measured, ObjectiveConfig, measure
from promptopt.search.pace import Pace
from promptopt.search.weighing import scores_to_compare

FloatArray = npt.NDArray[np.float64]
_SAMPLE = 16


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A candidate's scores on some cases.

    Attributes:
        cases: The cases.
        answers: The answers to its questions.
        scores: float64 (cases,): probability of violation before calibration, NaN where unjudged.
        measured: Metrics of the vector.
    """

    cases: tuple[GoldenCase, ...]
    answers: StoredAnswers
    scores: FloatArray
    measured: Measured

    @property
    def labels(self) -> npt.NDArray[np.bool_]:
        """True for violations."""
        return np.array([case.is_violation for case in self.cases], dtype=np.bool_)


class Evaluator:
    """Scores candidates.

    Args:
        judge: The judge behind the score store.
        engine: The same judge, for counting tokens.
        objective: Floors and ceilings that metrics are measured at.
        pace: The judge's, where seconds are wanted.
    """

    def __init__(
        self, judge: AnsweringJudge, engine: JudgeEngine, objective: ObjectiveConfig, pace: Pace | None = None
    ) -> None:
        self._judge = judge
        self._engine = engine
        self._objective = objective
        self._pace = pace

    def evaluate(
        self, prompts: Sequence[LoweredPrompt], procedure: Procedure | JuryProcedure, cases: Sequence[GoldenCase]
    ) -> Evaluation:
        """Scores prompts on cases, from the store where it can.

        Args:
            prompts: The candidate's lowered prompts.
            procedure: How its answers become a probability of violation.
            cases: What it is scored on.

        Returns:
            The scores and their metrics.
        """
        answers = self._judge.answers(prompts, cases)
        scores = scores_to_compare(procedure, answers.probabilities, cases)
        labels = np.array([case.is_violation for case in cases], dtype=np.bool_)
        severities = np.array([case.severity for case in cases], dtype=np.int64)
        tokens, seconds = self.tokens_per_case(prompts, cases), self.seconds_per_case(prompts, cases)
        measured = measure(labels, scores, severities, tokens, self._objective, seconds)
        return Evaluation(tuple(cases), answers, scores, measured)

    def scores(
        self, prompts: Sequence[LoweredPrompt], procedure: Procedure | JuryProcedure, cases: Sequence[GoldenCase]
    ) -> FloatArray:
        """Probability of violation as candidates are compared by it, (cases,); NaN where unjudged."""
        return scores_to_compare(procedure, self._judge.answers(prompts, cases).probabilities, cases)

    def tokens_per_case(self, prompts: Sequence[LoweredPrompt], cases: Sequence[GoldenCase]) -> float:
        """Tokens of a case's queries after the shared prefix, on average over a fixed sample; runs no model.

        A rationale counts with its longest length, once for writing and once for reading.
        """
        sample = _sample(cases)
        queries = [query for case in sample for query in queries_for(prompts, [case.item])]
        return count_queries(queries, self._engine).marginal / len(sample)

    def seconds_per_case(self, prompts: Sequence[LoweredPrompt], cases: Sequence[GoldenCase]) -> float:
        """Seconds of one more case at the judge's pace, on average over a fixed sample; NaN where it has none."""
        if self._pace is None:
            return float("nan")
        sample = _sample(cases)
        return self._pace.seconds(prompts, sample, self._engine) / len(sample)

    def costs_per_case(
        self, prompts: Sequence[LoweredPrompt], cases: Sequence[GoldenCase], names: Sequence[str]
    ) -> list[float]:
        """Those of the objectives that are known before any case is judged, in the order of their names."""
        known = {"tokens": self.tokens_per_case, "seconds": self.seconds_per_case}
        return [known[name](prompts, cases) for name in names if name in known]


def _sample(cases: Sequence[GoldenCase]) -> list[GoldenCase]:
    return sorted(cases, key=lambda case: case.digest)[:_SAMPLE]
