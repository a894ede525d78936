"""The way of one case through the decision procedure, for people who ask why."""

from __future__ import annotations

from collections.abc import Mapping

from promptopt.core.model import FrozenModel
from promptopt.errors import PolicyError
from promptopt.policy.decision_tree import Ending, Part, Step, compile_tree
from promptopt.policy.model import Action, Outcome, Policy


class Asked(FrozenModel):
    """One question that was asked, and its answer; None when there was none.

    Attributes:
        step: Number of the step in the policy's decision tree.
        clause: The clause that the question decides.
        question: The question.
        rule: Id of the rule that it was asked for.
        part: Whether *yes* speaks for that rule or against it.
        answer: Whether the clause applies.
    """

    step: int
    clause: str
    question: str
    rule: str
    part: Part
    answer: bool | None


class RoutingTrace(FrozenModel):
    """What the routing asked and concluded.

    Attributes:
        asked: The questions in order.
        rule: Id of the rule that decided; None when a question was left open.
        outcome: What it concluded; None when a question was left open.
        cited: Clause ids: of a violation those that made the rule hold, the first by precedence first; the same where
            the rule abstains, as the clauses in question; otherwise the permitted contexts that were answered *yes*.
        severity: The first cited clause's; 0 when allowed, None when open, left to people, or resting on no clause.
        action: The first cited clause's; None when open, left to people, or resting on no clause.
        escalate: Whether it goes to people: by the rule or by that action.
        open_question: The clause whose answer is missing; None when the procedure ended.
    """

    asked: tuple[Asked, ...]
    rule: str | None = None
    outcome: Outcome | None = None
    cited: tuple[str, ...] = ()
    severity: int | None = None
    action: Action | None = None
    escalate: bool = False
    open_question: str | None = None


def trace(policy: Policy, answers: Mapping[str, bool]) -> RoutingTrace:
    """Follows a policy's decision procedure.

    Args:
        policy: The policy.
        answers: Clause id to whether it applies; clauses that the procedure does not come to are not needed.

    Returns:
        The questions and where they led. A question without an answer ends the way without an outcome: not knowing is
        not *no*.

    Raises:
        PolicyError: An answer is about a clause that the policy does not have.
    """
    if unknown := [clause for clause in answers if clause not in policy.by_id]:
        raise PolicyError(
            f"the policy has no clause {', '.join(unknown)}", remedy=f"choose from {', '.join(policy.by_id)}"
        )
    steps, ending = compile_tree(policy).path(answers)
    asked = tuple(_asked(step, answers) for step in steps)
    if ending is None:
        return RoutingTrace(asked=asked, open_question=steps[-1].clause)
    if ending.outcome is Outcome.ALLOWED:
        return RoutingTrace(
            asked=asked,
            rule=ending.rule,
            outcome=ending.outcome,
            cited=tuple(a.clause for a in asked if a.answer and not policy.by_id[a.clause].is_violating),
            severity=0,
            action=Action.ALLOW,
        )
    return _not_allowed(asked, ending)


def _asked(step: Step, answers: Mapping[str, bool]) -> Asked:
    return Asked(
        step=step.number,
        clause=step.clause,
        question=step.question,
        rule=step.rule,
        part=step.part,
        answer=answers.get(step.clause),
    )


def _not_allowed(asked: tuple[Asked, ...], ending: Ending) -> RoutingTrace:
    yes = {a.clause for a in asked if a.answer}
    cited = [c for c in ending.consequences if c.clause in yes]
    first = cited[0] if cited and ending.outcome.violates else None
    action = None if first is None else first.action
    return RoutingTrace(
        asked=asked,
        rule=ending.rule,
        outcome=ending.outcome,
        cited=tuple(c.clause for c in cited),
        severity=None if first is None else first.severity,
        action=action,
        escalate=ending.outcome.to_people or action is Action.ESCALATE,
    )
