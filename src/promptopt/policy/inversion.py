"""A policy and its opposite on one clause, to see whether a judge follows the policy that it is given."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from promptopt.errors import PolicyError
from promptopt.policy.model import Action, Policy


def invert(policy: Policy, clause: str) -> Policy:
    """The policy in which what one violating clause covers is permitted.

    The clause keeps its id, includes and excludes. Its severity is 0 and its title and definition say that it is
    permitted; it leaves the precedence; rules no longer count it among what violates; boundary examples and templates
    that cite it go, as do rules that rested on it. The summary begins with what is
    permitted now.

    Args:
        policy: The policy.
        clause: Id of a violating clause.

    Returns:
        A policy that differs in this clause alone.

    Raises:
        PolicyError: The clause is not a violating clause of the policy, or is the only one.
    """
    violating = [c.id for c in policy.violating]
    if clause not in violating:
        raise PolicyError(f"{clause} is no violating clause", remedy=f"choose from {', '.join(violating)}")
    if len(violating) == 1:
        raise PolicyError(f"{clause} is the only violating clause", remedy="nothing would violate the inversion")
    data = policy.model_dump(mode="json")
    title = policy.by_id[clause].title
    notice = f"Under this policy, {title[:1].lower()}{title[1:]} is permitted and never a violation."
    data["summary"] = f"{notice} {policy.summary}"
    data["clauses"] = [_permitted(c) if c["id"] == clause else c for c in data["clauses"]]
    data["precedence"] = [i for i in policy.precedence if i != clause]
    data["routing"] = list(_rules(data["routing"], clause))
    for name in ("boundary_examples", "templates"):
        if name in data:
            data[name] = [entry for entry in data[name] if entry["clause"] != clause]
    return Policy.model_validate(data)


def _permitted(clause: dict[str, Any]) -> dict[str, Any]:
    return {
        **clause,
        "title": f"Permitted: {clause['title']}",
        "definition": f"Permitted here, whoever says it: {clause['definition']}",
        "severity": 0,
        "exceptions": [],
        "zero_tolerance": False,
        "action": Action.ALLOW.value,
    }


def _rules(rules: list[dict[str, Any]], clause: str) -> Iterator[dict[str, Any]]:
    """The rules without the clause; one that then would need all of nothing, or any of nothing, goes."""
    for rule in rules:
        when = rule["when"]
        if clause in when["all"] or (when["any"] and set(when["any"]) == {clause}):
            continue
        kept = {
            **when,
            "any": [c for c in when["any"] if c != clause],
            "none": [c for c in when["none"] if c != clause],
        }
        if any(kept.values()) or rule is rules[-1]:
            yield {**rule, "when": kept}
