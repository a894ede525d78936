"""Verdicts as columns of a table, and how many there are of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    """What came of judging a table; ``violations + allowed + unjudged == rows``."""

    rows: int = 0
    violations: int = 0
    allowed: int = 0
    unjudged: int = 0
    escalated: int = 0
    truncated: int = 0

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
        return TableTally(**{name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields})


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
