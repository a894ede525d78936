"""The verdicts of several domains as columns of a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptopt.bundle.domain_verdicts import DomainVerdicts
from promptopt.bundle.table_verdicts import VERDICT_COLUMNS, TableTally, VerdictRow, verdict_row
from promptopt.core.case import Label

OVERALL_COLUMNS: Mapping[str, str] = {
    "action": "text",
    "label": "text",
    "domain": "text",
    "clause": "text",
    "severity": "int",
    "escalate": "bool",
    "truncated": "bool",
    "unjudged_domains": "text",
}
NO_ACTION = "none"


@dataclass(frozen=True, slots=True)
class DomainLayout:
    """Overall columns, then those of each domain under its name; see :class:`VerdictLayout`.

    Attributes:
        domains: The domains, in order.
    """

    domains: tuple[str, ...]

    @property
    def columns(self) -> Mapping[str, str]:
        own = {f"{domain}_{name}": kind for domain in self.domains for name, kind in VERDICT_COLUMNS.items()}
        return {**OVERALL_COLUMNS, **own}

    def row(self, outcome: DomainVerdicts) -> VerdictRow:
        """The values of the columns; what is not known is null, and domains without a verdict are named."""
        known = outcome.action is not None
        overall = (
            outcome.action.value if outcome.action is not None else None,
            None if outcome.label is None else outcome.label.value,
            outcome.domain,
            outcome.clause,
            outcome.severity,
            outcome.escalate if known else None,
            outcome.truncated,
            ",".join(outcome.unjudged) or None,
        )
        return (*overall, *(value for domain in self.domains for value in verdict_row(outcome.verdicts[domain])))

    def tally(self, outcomes: Sequence[DomainVerdicts]) -> TableTally:
        """Counts outcomes, overall and for each domain; :data:`NO_ACTION` stands for rows whose action is unknown."""
        labels = [outcome.label for outcome in outcomes]
        actions = Counter(NO_ACTION if o.action is None else o.action.value for o in outcomes)
        return TableTally(
            rows=len(outcomes),
            violations=labels.count(Label.VIOLATION),
            allowed=labels.count(Label.ALLOWED),
            unjudged=labels.count(None),
            escalated=sum(outcome.escalate for outcome in outcomes),
            truncated=sum(outcome.truncated for outcome in outcomes),
            actions=dict(actions),
            domains={domain: TableTally.of([o.verdicts[domain] for o in outcomes]) for domain in self.domains},
        )
