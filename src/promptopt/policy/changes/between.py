"""What changed between two versions of a policy, in sentences for people who label by it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter

from promptopt.core.digest import canonical_json
from promptopt.errors import PolicyError
from promptopt.policy.changes.meaning import OTHER_CLAUSE, clause_likeness, same_words
from promptopt.policy.changes.model import Changed, ReusedId, Weight
from promptopt.policy.linting.text import content_words
from promptopt.policy.model import BoundaryExample, Clause, Policy
from promptopt.policy.wording import condition

_FIXED_WEIGHT = {
    "title": Weight.WORDING,
    "severity": Weight.RECORD,
    "action": Weight.RECORD,
    "exceptions": Weight.ROUTING,
    "zero_tolerance": Weight.ROUTING,
}
_LISTS = ("includes", "excludes")
_ORDER = ("title", "severity", "action", "zero_tolerance", "question", "definition", *_LISTS, "exceptions")

# What has comparisons of its own, what says which version it is, and templates, which only make tests.
_COMPARED = frozenset(
    [
        "schema_version",
        "domain",
        "version",
        "changelog",
        "templates",
        "title",
        "purpose",
        "question",
        "summary",
        "terms",
        "clauses",
        "precedence",
        "routing",
        "boundary_examples",
        "locale_notes",
    ]
)


def changes_between(old: Policy, new: Policy) -> tuple[Changed, ...]:
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
        *_notes(old, new),
        *_prose(old, new),
    )


def reused_ids(old: Policy, new: Policy) -> tuple[ReusedId, ...]:
    """Clause ids that name another clause than before, or now permit what they forbade (or the other way round)."""
    found = []
    for clause in new.clauses:
        before = old.by_id.get(clause.id)
        if before is None:
            continue
        alike = clause_likeness(before, clause)
        if alike < OTHER_CLAUSE or before.is_violating != clause.is_violating:
            remedy = f"give the new clause an id that was never used, and leave out {clause.id}"
            reused = ReusedId(
                clause=clause.id, before=before.title, now=clause.title, likeness=round(alike, 2), remedy=remedy
            )
            found.append(reused)
    return tuple(found)


def _clauses(old: Policy, new: Policy) -> Iterator[Changed]:
    reused = {found.clause for found in reused_ids(old, new)}
    for clause in new.clauses:
        if clause.id in old.by_id:
            yield from _clause(old.by_id[clause.id], clause, clause.id in reused)
        else:
            what = f"New clause: {clause.title} (severity {clause.severity}, {clause.action.value})"
            yield Changed(where=clause.id, what=what, weight=Weight.ROUTING, clauses=(clause.id,))
    for clause in old.clauses:
        if clause.id not in new.by_id:
            what = f"Clause removed: {clause.title}"
            texts = (clause.title, clause.definition, clause.question)
            yield Changed(where=clause.id, what=what, weight=Weight.ROUTING, clauses=(clause.id,), before=texts)


def _clause(old: Clause, new: Clause, reused: bool) -> Iterator[Changed]:
    """The changes of one clause; where its id is reused, all of them change the meaning."""
    names = (*_ORDER, *(name for name in Clause.model_fields if name not in _ORDER and name != "id"))
    for name in names:
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        if name in (*_LISTS, "exceptions"):
            what = _listed(_name(name), before, after)
        else:
            what = f"{_name(name)}: {_said(after)}; before: {_said(before)}"
        if what:
            weight = Weight.MEANING if reused else _FIXED_WEIGHT.get(name) or _weight(before, after)
            yield Changed(where=new.id, what=what, weight=weight, clauses=(new.id,), before=_read(name, before))


def _read(name: str, before: Any) -> tuple[str, ...]:
    """The former text as prompts have it; nothing for what is no text."""
    if name in _LISTS:
        return ("; ".join(before),)
    return (before,) if name in ("title", "question", "definition") else ()


def _weight(before: Any, after: Any) -> Weight:
    """Wording where the same words are said; of a list, where every item is still there in the same words."""
    if isinstance(before, str) and isinstance(after, str):
        return Weight.WORDING if same_words(before, after) else Weight.MEANING
    if isinstance(before, tuple) and isinstance(after, tuple) and len(before) == len(after):
        matched = all(any(same_words(str(a), str(b)) for b in after) for a in before)
        return Weight.WORDING if matched else Weight.MEANING
    return Weight.MEANING


def _rules(old: Policy, new: Policy) -> Iterator[Changed]:
    before = {rule.id: f"{condition(rule)}: {rule.then.value}" for rule in old.routing}
    after = {rule.id: f"{condition(rule)}: {rule.then.value}" for rule in new.routing}
    for where, what in _mapped("rule", before, after):
        yield Changed(where=where, what=what, weight=Weight.ROUTING)
    kept_before = [i for i in before if i in after]
    kept_after = [i for i in after if i in before]
    if kept_before != kept_after:
        what = f"Order: {', '.join(kept_after)}; before: {', '.join(kept_before)}"
        yield Changed(where="Routing", what=what, weight=Weight.ROUTING)


def _precedence(old: Policy, new: Policy) -> Iterator[Changed]:
    if old.precedence != new.precedence:
        what = f"Order: {', '.join(new.precedence)}; before: {', '.join(old.precedence)}"
        yield Changed(where="Precedence", what=what, weight=Weight.ROUTING)


def _terms(old: Policy, new: Policy) -> Iterator[Changed]:
    before, after = ({t.term: t.definition for t in p.terms} for p in (old, new))
    for term, what in _mapped("term", before, after):
        same = same_words(before.get(term, ""), after.get(term, ""))
        using = () if same else tuple(_using(term, (*old.clauses, *new.clauses)))
        gone = (before[term],) if term in before else ()
        weight = Weight.MEANING if using else Weight.WORDING
        yield Changed(where=term, what=what, weight=weight, clauses=using, before=gone)


def _using(term: str, clauses: Iterable[Clause]) -> dict[str, None]:
    """Ids of the clauses that say all words of the term in one place, in any form."""
    needed = content_words(term)
    if not needed:
        return {}
    return {c.id: None for c in clauses if any(needed <= content_words(said) for said in _prose_of(c))}


def _prose_of(clause: Clause) -> tuple[str, ...]:
    return (clause.definition, clause.question, *clause.includes, *clause.excludes)


def _mapped(kind: str, before: Mapping[str, str], after: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, text in after.items():
        if name not in before:
            yield name, f"New {kind}: {text}"
        elif before[name] != text:
            yield name, f"{kind.capitalize()}: {text}; before: {before[name]}"
    for name in before:
        if name not in after:
            yield name, f"{kind.capitalize()} removed"


def _examples(old: Sequence[BoundaryExample], new: Sequence[BoundaryExample]) -> Iterator[Changed]:
    before, after = ({e.text: e for e in examples} for examples in (old, new))
    for text, example in after.items():
        former = before.get(text)
        if former is None:
            what = f"New, {_decided(example)}: “{text}”"
            yield Changed(where="Examples", what=what, weight=Weight.WORDING)
        elif (former.label, former.clause) != (example.label, example.clause):
            what = f"Now {_decided(example)}; before {_decided(former)}: “{text}”"
            cited = tuple(dict.fromkeys(c for c in (former.clause, example.clause) if c is not None))
            yield Changed(where="Examples", what=what, weight=Weight.MEANING, clauses=cited, before=(text,))
    for text in before:
        if text not in after:
            yield Changed(where="Examples", what=f"Removed: “{text}”", weight=Weight.WORDING, before=(text,))


def _decided(example: BoundaryExample) -> str:
    return f"{example.label.value} under {example.clause}" if example.clause else example.label.value


def _notes(old: Policy, new: Policy) -> Iterator[Changed]:
    for locale, what in _mapped("note", old.locale_notes, new.locale_notes):
        gone = (old.locale_notes[locale],) if locale in old.locale_notes else ()
        yield Changed(where=locale, what=what, weight=Weight.WORDING, before=gone)


def _prose(old: Policy, new: Policy) -> Iterator[Changed]:
    for name in ("title", "purpose", "question", "summary"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            what = f"{after}; before: {before}"
            yield Changed(where=name.capitalize(), what=what, weight=Weight.WORDING, before=(before,))
    for name in (name for name in Policy.model_fields if name not in _COMPARED):
        before, after = getattr(old, name), getattr(new, name)
        if before != after:
            what = f"{_data(after)}; before: {_data(before)}"
            yield Changed(where=_name(name), what=what, weight=Weight.WORDING)


def _listed(name: str, old: Sequence[Any], new: Sequence[Any]) -> str:
    parts = []
    if added := [str(item) for item in new if item not in old]:
        parts.append(f"added {', '.join(added)}")
    if gone := [str(item) for item in old if item not in new]:
        parts.append(f"removed {', '.join(gone)}")
    return f"{name}: {'; '.join(parts)}" if parts else ""


def _data(value: Any) -> str:
    return canonical_json(TypeAdapter(Any).dump_python(value, mode="json")) if value else "none"


def _name(field: str) -> str:
    name = field.replace("_", " ")
    return name[0].upper() + name[1:]


def _said(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "not given"
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
