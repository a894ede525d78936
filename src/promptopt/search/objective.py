"""Objectives: functions of the whole vector of scores, never a mean of per-case scores."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from promptopt.core.model import FrozenModel
from promptopt.metrics.summary import MetricSummary, summarise

ObjectiveName = Literal["auprc", "auroc", "recall_at_precision", "f1", "tokens"]
_MINIMISED: frozenset[str] = frozenset({"tokens"})


class ObjectiveConfig(FrozenModel):
    """What a sweep optimises.

    Attributes:
        names: One objective, or several for a Pareto search (racing is then off); the first picks the winner.
        precision_floor: Precision that recall is measured at, and that the operating point must keep.
    """

    names: tuple[ObjectiveName, ...] = Field(default=("auprc",), min_length=1)
    precision_floor: float = Field(default=0.8, gt=0.0, le=1.0)

    @field_validator("names")
    @classmethod
    def _distinct(cls, names: tuple[ObjectiveName, ...]) -> tuple[ObjectiveName, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"the objectives must differ, found {list(names)}")
        return names

    @property
    def directions(self) -> list[str]:
        """Optuna directions, in the order of the names."""
        return ["minimize" if name in _MINIMISED else "maximize" for name in self.names]

    def goodness(self, value: float) -> float:
        """The first objective's value on a scale where larger is better."""
        return -value if self.names[0] in _MINIMISED else value


class Measured(FrozenModel):
    """A candidate's metrics on the cases it was scored on.

    Attributes:
        summary: Metrics of the whole vector; thresholds are refitted for it.
        tokens_per_case: Tokens of a case's queries after the shared prefix, on average; what one more case costs.
    """

    summary: MetricSummary
    tokens_per_case: float

    def values(self, config: ObjectiveConfig) -> list[float]:
        """The objectives' values; NaN where the metric is undefined."""
        facts = {**self.summary.model_dump(), "tokens": self.tokens_per_case}
        return [float(facts[name]) for name in config.names]

    def metrics(self) -> dict[str, float]:
        """Every metric by name, for logs and tables."""
        names = ("auprc", "auroc", "recall_at_precision", "f1")
        facts = self.summary.model_dump()
        return {**{name: float(facts[name]) for name in names}, "tokens_per_case": self.tokens_per_case}


def measure(
    labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.float64], tokens_per_case: float, precision_floor: float
) -> Measured:
    """Measures a vector of scores.

    Args:
        labels: True for violations, (cases,).
        scores: Probabilities of violation, (cases,); NaN is no verdict, counted and left out of the metrics.
        tokens_per_case: See :class:`Measured`.
        precision_floor: Precision that recall is measured at.

    Returns:
        The metrics.
    """
    return Measured(summary=summarise(labels, scores, precision_floor), tokens_per_case=tokens_per_case)
