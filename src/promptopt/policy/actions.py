"""Which action comes first, and the action that a verdict stands for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from promptopt.core.case import Label
from promptopt.core.verdict import Verdict
from promptopt.policy.model import Action, Clause

# ``escalate`` leads: people who see a case can still remove it, and a removal that nobody sees can be neither undone in
# time nor reported to whoever has to know.
ACTION_ORDER: Final[tuple[Action, ...]] = (
    Action.ESCALATE,
    Action.REMOVE,
    Action.RESTRICT,
    Action.LABEL,
    Action.ALLOW,
)


def rank(severity: int, action: Action) -> tuple[int, int]:
    """Sorts what is done with a case, the severest first; at equal severity :data:`ACTION_ORDER` decides."""
    return -severity, ACTION_ORDER.index(action)


def consequence(verdict: Verdict, clauses: Iterable[Clause]) -> tuple[int, Action] | None:
    """What a policy does with a case, and how severe the case is.

    Args:
        verdict: What the policy's judge says.
        clauses: The policy's clauses.

    Returns:
        Severity and action; None where there is no verdict, which is not an allowed case. The action of a violation
        is that of the clause cited. A violation that cites no clause, as a direct question's, has the action that all
        violating clauses share, else ``escalate``, and is taken to be as severe as the severest of them: the verdict
        does not say which clause it was. A verdict that goes to people has the action ``escalate``.
    """
    if not verdict.is_judged:
        return None
    if verdict.label is Label.ALLOWED:
        return 0, Action.ESCALATE if verdict.escalate else Action.ALLOW
    violating = {clause.id: clause for clause in clauses if clause.is_violating}
    cited = violating.get(verdict.clause or "")
    among = [cited] if cited else list(violating.values())
    actions = {clause.action for clause in among}
    action = actions.pop() if len(actions) == 1 and not verdict.escalate else Action.ESCALATE
    return verdict.severity or max((clause.severity for clause in among), default=0), action
