"""Weights of a checklist's clauses, fitted from scores that were paid for: how much each answer says of a violation.

A clause whose question a judge answers at random should not count as much as one that it answers well, and *yes* may
mean little at 0.5 and much at 0.1. Weights are those of a logistic regression on the answers' log-odds; what a clause
that permits says counts against a violation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, FiniteFloat, model_validator

from promptopt.core.model import FrozenModel
from promptopt.policy.log_odds import log_odds, sigmoid
from promptopt.policy.model import Clause

FloatArray = npt.NDArray[np.float64]
_EVEN = 0.5


class ClauseWeights(FrozenModel):
    """How a checklist's answers are weighed.

    Attributes:
        intercept: Log-odds of a violation where all clauses' weighted log-odds are 0.
        weights: Clause id to its weight, never negative; every clause of the procedure has one.
        thresholds: Clause id to the probability of *yes* from which the clause counts as applying, for citing and
            routing; 0.5 for a clause without one.
    """

    intercept: FiniteFloat
    weights: dict[str, Annotated[FiniteFloat, Field(ge=0.0)]] = Field(min_length=1)
    thresholds: dict[str, Annotated[FiniteFloat, Field(gt=0.0, lt=1.0)]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> Self:
        if unknown := sorted(self.thresholds.keys() - self.weights.keys()):
            raise ValueError(f"thresholds of clauses without a weight: {unknown}")
        return self

    def score(self, clauses: Sequence[Clause], table: FloatArray) -> FloatArray:
        """Probability of a violation.

        Args:
            clauses: Of the columns.
            table: Probabilities of *yes*; shape (cases, clauses), NaN where unjudged.

        Returns:
            float64 of shape (cases,), in (0, 1); NaN where an answer is unjudged.
        """
        total = np.full(len(table), self.intercept)
        for clause, feature in zip(clauses, clause_features(clauses, table).T, strict=True):
            total = total + self.weights[clause.id] * feature  # one at a time: the same sum in any company
        return sigmoid(total)

    def evened(self, answers: Mapping[str, float]) -> dict[str, float]:
        """The answers of one case moved so that each clause applies from a half on.

        Args:
            answers: Clause id to the probability of *yes*.
        """
        return {name: _evened(p, self.thresholds.get(name, _EVEN)) for name, p in answers.items()}


def clause_features(clauses: Sequence[Clause], table: FloatArray) -> FloatArray:
    """What each answer says for a violation.

    Args:
        clauses: Of the columns.
        table: Probabilities of *yes*; shape (cases, clauses), NaN where unjudged.

    Returns:
        Log-odds of *yes* for violating clauses and of *no* for permitting ones, of probabilities clipped to
        [1e-6, 1 - 1e-6]; the shape of the table.
    """
    signs = np.array([1.0 if clause.is_violating else -1.0 for clause in clauses])
    return np.asarray(log_odds(table) * signs)


def _evened(probability: float, threshold: float) -> float:
    """Moves log-odds by those of the threshold; a probability of 0 or 1 stays."""
    if threshold == _EVEN:
        return probability
    yes, no = probability * (1 - threshold), (1 - probability) * threshold
    return yes / (yes + no)
