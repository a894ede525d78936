"""The verdict that a policy's routing implies for a text that certain clauses are taken to cover."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from promptopt.core.case import Label
from promptopt.core.model import FrozenModel
from promptopt.policy.model import Outcome, Policy
from promptopt.policy.routing import first_match


class Implied(FrozenModel):
    """What the routing concludes.

    Attributes:
        label: Violation (escalated ones too) or allowed; None where the rule leaves it to people.
        clause: The violating clause that comes first in precedence among those the deciding rule cites; for an
            allowed text the permitting clause that applies, if any.
        severity: Of the clause cited; 0 for an allowed text. Where people decide, what a violation would have.
        rule: The rule that decides.
    """

    label: Label | None
    clause: str | None
    severity: int
    rule: str


def implied_verdict(policy: Policy, applying: Collection[str]) -> Implied:
    """The verdict on a text that exactly these clauses cover.

    Args:
        policy: The policy.
        applying: Ids of its clauses.

    Returns:
        The verdict that the first matching rule gives.

    Raises:
        KeyError: The policy does not define one of the clauses.
    """
    for clause in applying:
        policy.by_id[clause]
    ids = [clause.id for clause in policy.clauses]
    row = np.array([[i in applying for i in ids]], dtype=np.bool_)
    rule = policy.routing[int(first_match(policy.routing, ids, row)[0])]
    if rule.then is Outcome.ALLOWED:
        permitting = next((c.id for c in policy.permitting if c.id in applying), None)
        return Implied(label=Label.ALLOWED, clause=permitting, severity=0, rule=rule.id)
    violating = [clause for clause in policy.precedence if clause in applying]
    cited = next((c for c in violating if c in rule.when.clauses), violating[0] if violating else None)
    severity = max(1, policy.by_id[cited].severity) if cited else 1
    label = Label.VIOLATION if rule.then.violates else None
    return Implied(label=label, clause=cited, severity=severity, rule=rule.id)
