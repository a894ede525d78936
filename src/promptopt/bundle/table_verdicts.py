"""Verdicts as columns of a table, and how many there are of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer

from promptopt.core.case import Label
from promptopt.core.model import FrozenModel
from promptopt.core.verdict import Verdict

VerdictRow = Sequence[object]

VERDICT_COLUMNS: Mapping[str, str] = {
    "label": "text",
    "probability": "float",
    "clause": "text",
    "severity": "int",
    "rule": "text",
    "escalate": "bool",
    "truncated": "bool",
    "unjudged_reason": "text",
}


class TableTally(FrozenModel):
    """What came of judging a table; ``violations + allowed + unjudged == rows``.

    Attributes:
        actions: Action to rows, where several domains are judged; left out of the data where there are none.
        domains: Domain to what came of it, likewise.
    """

    rows: int = 0
    violations: int = 0
    allowed: int = 0
    unjudged: int = 0
    escalated: int = 0
    truncated: int = 0
    actions: dict[str, int] = Field(default_factory=dict)
    domains: dict[str, TableTally] = Field(default_factory=dict)

    @classmethod
    def of(cls, verdicts: Sequence[Verdict]) -> TableTally:
        """Counts verdicts."""
        labels = [verdict.label for verdict in verdicts]
        return cls(
            rows=len(verdicts),
            violations=labels.count(Label.VIOLATION),
            allowed=labels.count(Label.ALLOWED),
            unjudged=labels.count(None),
            escalated=sum(verdict.escalate for verdict in verdicts),
            truncated=sum(verdict.truncated for verdict in verdicts),
        )

    def __add__(self, other: TableTally) -> TableTally:
        return TableTally(
            **{name: getattr(self, name) + getattr(other, name) for name in _COUNTS},
            actions=_joined(self.actions, other.actions, 0),
            domains=_joined(self.domains, other.domains, TableTally()),
        )

    @model_serializer(mode="wrap")
    def _without_unused(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        data: dict[str, Any] = serialise(self)
        return {name: value for name, value in data.items() if name in _COUNTS or value}


_COUNTS = ("rows", "violations", "allowed", "unjudged", "escalated", "truncated")


class VerdictLayout(Protocol):
    """How the outcomes of a judge become columns."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Name to kind (``text``, ``float``, ``int``, ``bool``) of every column, without prefix."""
        ...

    def row(self, outcome: Any) -> VerdictRow:
        """The values of the columns."""
        ...

    def tally(self, outcomes: Sequence[Any]) -> TableTally:
        """Counts outcomes."""
        ...


class OneVerdict:
    """One :class:`Verdict` per row."""

    columns = VERDICT_COLUMNS

    def row(self, outcome: Verdict) -> VerdictRow:
        return verdict_row(outcome)

    def tally(self, outcomes: Sequence[Verdict]) -> TableTally:
        return TableTally.of(outcomes)


def verdict_row(verdict: Verdict) -> VerdictRow:
    """The values of :data:`VERDICT_COLUMNS`; a row without a verdict has nulls where a verdict would stand."""
    return (
        None if verdict.label is None else verdict.label.value,
        verdict.probability,
        verdict.clause,
        verdict.severity,
        verdict.rule,
        verdict.escalate if verdict.is_judged else None,
        verdict.truncated,
        verdict.unjudged_reason,
    )


def _joined(one: Mapping[str, Any], other: Mapping[str, Any], nothing: Any) -> dict[str, Any]:
    return {name: one.get(name, nothing) + other.get(name, nothing) for name in {**one, **other}}
