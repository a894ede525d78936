"""Hard constraints of a search: recall on critical slices, and no regression from the seed prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from promptopt.core.case import GoldenCase
from promptopt.core.model import FrozenModel
from promptopt.errors import ConfigError
from promptopt.golden.slices import SLICE_FORMS, check_slice, is_slice, slice_rows
from promptopt.metrics.operating_point import choose_threshold
from promptopt.search.evaluation import Evaluation

_KEY = "search.constraints"


class ConstraintConfig(FrozenModel):
    """What the winner has to keep on the search cases, at the threshold that serves the precision floor there.

    Attributes:
        slice: Violations that it speaks of, such as ``clause:V2`` or ``severity>=3``.
        recall: Recall to reach on them; None where only regression counts.
        no_regression: The seed prompt's recall on them, at its own threshold, is to be reached as well.
    """

    slice: str
    recall: float | None = Field(default=None, gt=0.0, le=1.0)
    no_regression: bool = False

    @field_validator("slice")
    @classmethod
    def _named(cls, name: str) -> str:
        if not is_slice(name):
            raise ValueError(f"{name!r} is not a slice; write {SLICE_FORMS}")
        return name

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.recall is None and not self.no_regression:
            raise ValueError(f"the constraint on {self.slice} asks for nothing: set recall or no_regression")
        return self


def check_constraints(constraints: Sequence[ConstraintConfig], cases: Sequence[GoldenCase]) -> None:
    """Checks that every constraint can be measured, before anything is judged.

    Raises:
        ConfigError: A slice holds no violation of the search cases, or is named twice.
    """
    names = [constraint.slice for constraint in constraints]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"{name} is named twice", where=_KEY, remedy="give each slice one constraint")
        check_slice(name, cases, where=_KEY, what="the search cases")


class ConstraintCheck:
    """Measures constraints.

    Args:
        constraints: What to keep.
        precision_floor: Gives the threshold, fitted on the same cases.
        seed: Evaluates the seed prompt on the search cases; called at most once, and only where it is needed.
    """

    def __init__(
        self, constraints: Sequence[ConstraintConfig], precision_floor: float, seed: Callable[[], Evaluation]
    ) -> None:
        self._constraints = constraints
        self._floor = precision_floor
        self._seed = seed

    def __call__(self, evaluation: Evaluation) -> dict[str, float]:
        """What a candidate lacks.

        Args:
            evaluation: On all search cases.

        Returns:
            Constraint name to the recall that is missing; feasible at or below 0, as Optuna has it. An unjudged
            violation counts as missed.
        """
        found: dict[str, float] = {}
        for constraint in self._constraints:
            reached = self._recall(constraint.slice, evaluation)
            if constraint.recall is not None:
                found[f"recall {constraint.slice}"] = constraint.recall - reached
            if constraint.no_regression:
                found[f"no regression {constraint.slice}"] = self._recall(constraint.slice, self._baseline) - reached
        return found

    @cached_property
    def _baseline(self) -> Evaluation:
        return self._seed()

    def _recall(self, name: str, evaluation: Evaluation) -> float:
        point = choose_threshold(evaluation.labels, evaluation.scores, "recall_at_precision", self._floor)
        rows = slice_rows(name, evaluation.cases)
        caught = np.nan_to_num(evaluation.scores[rows], nan=-np.inf) >= point.threshold
        return float(caught.mean())
