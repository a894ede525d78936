"""What several domains' judges say of one case, and what is to be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

from pydantic import Field

from promptopt.core.case import Label
from promptopt.core.model import FrozenModel
from promptopt.core.verdict import Verdict
from promptopt.policy.actions import consequence, rank
from promptopt.policy.model import Action, Clause


class DomainVerdicts(FrozenModel):
    """One case under several policies.

    Attributes:
        verdicts: Domain to verdict, in the judge's order of domains.
        action: The severest of what the policies do with the case (:func:`promptopt.policy.actions.rank`). None where
            no domain calls for an action and at least one has no verdict: that is not ``allow``.
        domain: The domain that the action comes from, the first of several alike; None where there is nothing to do.
        severity: How severe the case is there: 0 where it is allowed everywhere, None where the action is None.
    """

    verdicts: dict[str, Verdict] = Field(min_length=1)
    action: Action | None
    domain: str | None
    severity: int | None

    @classmethod
    def of(cls, verdicts: Mapping[str, Verdict], clauses: Mapping[str, Sequence[Clause]]) -> Self:
        """Finds the overall action.

        Args:
            verdicts: Domain to verdict.
            clauses: Domain to the clauses of its policy.
        """
        found = {domain: consequence(verdict, clauses[domain]) for domain, verdict in verdicts.items()}
        known = [(rank(*what), domain, what) for domain, what in found.items() if what is not None]
        _, domain, (severity, action) = min(known, key=lambda each: each[0], default=(None, None, (None, None)))
        if action is Action.ALLOW:
            domain = None
            if None in found.values():
                severity, action = None, None
        return cls(verdicts=dict(verdicts), action=action, domain=domain, severity=severity)

    @property
    def label(self) -> Label | None:
        """Violation where a domain says so, allowed where all do, None where neither is known."""
        labels = [verdict.label for verdict in self.verdicts.values()]
        if Label.VIOLATION in labels:
            return Label.VIOLATION
        return None if None in labels else Label.ALLOWED

    @property
    def clause(self) -> str | None:
        """The clause that the action comes from, if one is cited."""
        return None if self.domain is None else self.verdicts[self.domain].clause

    @property
    def escalate(self) -> bool:
        """Whether any domain sends the case to people, whatever the overall action."""
        return self.action is Action.ESCALATE or any(verdict.escalate for verdict in self.verdicts.values())

    @property
    def truncated(self) -> bool:
        """Whether any domain's judge did not read everything."""
        return any(verdict.truncated for verdict in self.verdicts.values())

    @property
    def unjudged(self) -> tuple[str, ...]:
        """The domains without a verdict."""
        return tuple(domain for domain, verdict in self.verdicts.items() if not verdict.is_judged)
