"""How steps and endings of a decision tree are named wherever people read them."""

from __future__ import annotations

import re

from promptopt.policy.decision_tree import DecisionTree, Ending
from promptopt.policy.model import Outcome, Rule

OUTCOMES = {
    Outcome.VIOLATION: "Violation",
    Outcome.ALLOWED: "Allowed",
    Outcome.ESCALATE: "Violation, escalate",
    Outcome.ABSTAIN: "People decide",
}

_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text: str) -> str:
    """The text without the control characters that neither XML nor HTML may hold, escaped or not."""
    return _NOT_IN_XML.sub("", text)


def headline(ending: Ending) -> str:
    """``Violation: cite V2, V3 or V6``; ``People decide: V2 or V3?``; ``Allowed``."""
    said, cited = OUTCOMES[ending.outcome], [c.clause for c in ending.consequences]
    if not cited:
        return said
    return f"{said}: {either(cited)}?" if ending.outcome is Outcome.ABSTAIN else f"{said}: cite {either(cited)}"


def consequences(ending: Ending) -> list[str]:
    """``V1: severity 4, escalate``, one for each clause that may be cited; ``if V1: ...`` where people decide."""
    doubt = "if " if ending.outcome is Outcome.ABSTAIN else ""
    return [f"{doubt}{c.clause}: severity {c.severity}, {c.action.value}" for c in ending.consequences]


def target(tree: DecisionTree, name: str) -> str:
    """Where an answer leads: ``step 3``, or ``end A: Violation: cite V5``."""
    return f"step {name}" if name in tree.step else f"end {name}: {headline(tree.ending[name])}"


def condition(rule: Rule) -> str:
    """``any of V1, V2; none of V8``; ``in every other case``."""
    parts = [("all of", rule.when.all), ("any of", rule.when.any), ("none of", rule.when.none)]
    return "; ".join(f"{word} {', '.join(ids)}" for word, ids in parts if ids) or "in every other case"


def either(names: list[str]) -> str:
    """``V2``, ``V2 or V3``, ``V2, V3 or V6``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
