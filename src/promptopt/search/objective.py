"""Objectives: functions of the whole vector of scores, never a mean of per-case scores."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from promptopt.core.model import FrozenModel
from promptopt.metrics.arrays import IntArray
from promptopt.metrics.arrays import Measured as MeasuredNumber
from promptopt.metrics.costs import best_f_beta, recall_at_fpr, severity_cost
from promptopt.metrics.summary import MetricSummary, summarise

ObjectiveName = Literal[
    "auprc", "auroc", "recall_at_precision", "recall_at_fpr", "f1", "f_beta", "severity_cost", "tokens", "seconds"
]
_MINIMISED: frozenset[str] = frozenset({"severity_cost", "tokens", "seconds"})


class ObjectiveConfig(FrozenModel):
    """What a sweep optimises.

    Attributes:
        names: One objective, or several for a Pareto search; the first picks the winner.
        precision_floor: Precision that recall is measured at, and that the operating point must keep.
        fpr_ceiling: False positive rate that ``recall_at_fpr`` is measured at.
        beta: How many times ``f_beta`` counts recall as much as precision.
    """

    names: tuple[ObjectiveName, ...] = Field(default=("auprc",), min_length=1)
    precision_floor: float = Field(default=0.8, gt=0.0, le=1.0)
    fpr_ceiling: float = Field(default=0.05, ge=0.0, lt=1.0)
    beta: float = Field(default=2.0, gt=0.0)

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
        recall_at_fpr: See :func:`promptopt.metrics.costs.recall_at_fpr`.
        f_beta: Largest F-beta over thresholds.
        severity_cost: See :func:`promptopt.metrics.costs.severity_cost`.
        tokens_per_case: Tokens of a case's queries after the shared prefix, on average; what one more case costs.
        seconds_per_case: What it costs in time, see :class:`promptopt.search.pace.Pace`; NaN where nobody asked.
    """

    summary: MetricSummary
    recall_at_fpr: MeasuredNumber
    f_beta: MeasuredNumber
    severity_cost: MeasuredNumber
    tokens_per_case: float
    seconds_per_case: MeasuredNumber = float("nan")

    def values(self, config: ObjectiveConfig) -> list[float]:
        """The objectives' values; NaN where the metric is undefined."""
        costs = {"tokens": self.tokens_per_case, "seconds": self.seconds_per_case}
        facts = {**self.summary.model_dump(), **self.model_dump(exclude={"summary"}), **costs}
        return [float(facts[name]) for name in config.names]

    def metrics(self) -> dict[str, float]:
        """Every metric by name, for logs and tables."""
        names = ("auprc", "auroc", "recall_at_precision", "f1")
        facts = self.summary.model_dump()
        unasked = {"seconds_per_case"} if math.isnan(self.seconds_per_case) else set[str]()
        return {**{name: float(facts[name]) for name in names}, **self.model_dump(exclude={"summary", *unasked})}


def measure(
    labels: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.float64],
    severities: IntArray,
    tokens_per_case: float,
    config: ObjectiveConfig,
    seconds_per_case: float = float("nan"),
) -> Measured:
    """Measures a vector of scores.

    Args:
        labels: True for violations, (cases,).
        scores: Probabilities of violation, (cases,); NaN is no verdict, counted and left out of the metrics.
        severities: 0 to 4, (cases,).
        tokens_per_case: See :class:`Measured`.
        config: Floor, ceiling and beta.
        seconds_per_case: See :class:`Measured`.

    Returns:
        The metrics.
    """
    return Measured(
        summary=summarise(labels, scores, config.precision_floor),
        recall_at_fpr=recall_at_fpr(labels, scores, config.fpr_ceiling),
        f_beta=best_f_beta(labels, scores, config.beta),
        severity_cost=severity_cost(labels, scores, severities),
        tokens_per_case=tokens_per_case,
        seconds_per_case=seconds_per_case,
    )
