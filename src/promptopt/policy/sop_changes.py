"""What changed between two versions of a policy, in sentences for people who label by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from promptopt.core.model import FrozenModel
from promptopt.errors import PolicyError
from promptopt.policy.model import BoundaryExample, Clause, Policy, Rule

_SINGLE = ("title", "severity", "action", "zero_tolerance", "question", "definition")
_SEVERAL = ("includes", "excludes", "exceptions")
_NAMES = {"zero_tolerance": "zero tolerance"}


class Changed(FrozenModel):
    """One change.

    Attributes:
        where: A clause or rule id, or a part of the policy.
        what: What is different, with the former words.
    """

    where: str
    what: str


def changes_since(old: Policy, new: Policy) -> tuple[Changed, ...]:
    """The changes from one version to another, clauses first.

    Args:
        old: The version that people know.
        new: The version that is to hold.

    Returns:
        The changes, in the order of the new policy; empty when both say the same.

    Raises:
        PolicyError: They are about different domains.
    """
    if old.domain != new.domain:
        raise PolicyError(
            f"the former version is about {old.domain}, not {new.domain}", remedy="name an older version of this policy"
        )
    return (
        *_clauses(old, new),
        *_rules(old, new),
        *_precedence(old, new),
        *_terms(old, new),
        *_examples(old.boundary_examples, new.boundary_examples),
        *_prose(old, new),
    )


def condition(rule: Rule) -> str:
    """``any of V1, V2; none of V8``; ``in every other case``."""
    parts = [("all of", rule.when.all), ("any of", rule.when.any), ("none of", rule.when.none)]
    return "; ".join(f"{word} {', '.join(ids)}" for word, ids in parts if ids) or "in every other case"


def _clauses(old: Policy, new: Policy) -> Iterator[Changed]:
    for clause in new.clauses:
        if clause.id in old.by_id:
            yield from _clause(old.by_id[clause.id], clause)
        else:
            what = f"New clause: {clause.title} (severity {clause.severity}, {clause.action.value})"
            yield Changed(where=clause.id, what=what)
    for clause in old.clauses:
        if clause.id not in new.by_id:
            yield Changed(where=clause.id, what=f"Clause removed: {clause.title}")


def _clause(old: Clause, new: Clause) -> Iterator[Changed]:
    for name in _SINGLE:
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield Changed(where=new.id, what=f"{_name(name)}: {_said(after)}; before: {_said(before)}")
    for name in _SEVERAL:
        yield from _listed(new.id, _name(name), getattr(old, name), getattr(new, name))


def _rules(old: Policy, new: Policy) -> Iterator[Changed]:
    before = {rule.id: f"{condition(rule)}: {rule.then.value}" for rule in old.routing}
    after = {rule.id: f"{condition(rule)}: {rule.then.value}" for rule in new.routing}
    yield from _mapped("rule", before, after)
    kept_before = [i for i in before if i in after]
    kept_after = [i for i in after if i in before]
    if kept_before != kept_after:
        what = f"Order: {', '.join(kept_after)}; before: {', '.join(kept_before)}"
        yield Changed(where="Routing", what=what)


def _precedence(old: Policy, new: Policy) -> Iterator[Changed]:
    if old.precedence != new.precedence:
        what = f"Order: {', '.join(new.precedence)}; before: {', '.join(old.precedence)}"
        yield Changed(where="Precedence", what=what)


def _terms(old: Policy, new: Policy) -> Iterator[Changed]:
    before, after = ({t.term: t.definition for t in p.terms} for p in (old, new))
    yield from _mapped("term", before, after)


def _mapped(kind: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[Changed]:
    for name, text in after.items():
        if name not in before:
            yield Changed(where=name, what=f"New {kind}: {text}")
        elif before[name] != text:
            yield Changed(where=name, what=f"{kind.capitalize()}: {text}; before: {before[name]}")
    for name in before:
        if name not in after:
            yield Changed(where=name, what=f"{kind.capitalize()} removed")


def _examples(old: Sequence[BoundaryExample], new: Sequence[BoundaryExample]) -> Iterator[Changed]:
    before, after = ({e.text: e for e in examples} for examples in (old, new))
    for text, example in after.items():
        former = before.get(text)
        if former is None:
            yield Changed(where="Examples", what=f"New, {_decided(example)}: “{text}”")
        elif (former.label, former.clause) != (example.label, example.clause):
            yield Changed(where="Examples", what=f"Now {_decided(example)}; before {_decided(former)}: “{text}”")
    for text in before:
        if text not in after:
            yield Changed(where="Examples", what=f"Removed: “{text}”")


def _decided(example: BoundaryExample) -> str:
    return f"{example.label.value} under {example.clause}" if example.clause else example.label.value


def _prose(old: Policy, new: Policy) -> Iterator[Changed]:
    for name in ("title", "purpose", "question", "summary"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            yield Changed(where=name.capitalize(), what=f"{after}; before: {before}")


def _listed(where: str, name: str, old: Sequence[str], new: Sequence[str]) -> Iterator[Changed]:
    parts = []
    if added := [item for item in new if item not in old]:
        parts.append(f"added {', '.join(added)}")
    if gone := [item for item in old if item not in new]:
        parts.append(f"removed {', '.join(gone)}")
    if parts:
        yield Changed(where=where, what=f"{name}: {'; '.join(parts)}")


def _name(field: str) -> str:
    name = _NAMES.get(field, field)
    return name[0].upper() + name[1:]


def _said(value: Any) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
