"""Changelog, defined words, and what ids meant before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from promptopt.policy.changes.meaning import OTHER_CLAUSE, clause_likeness
from promptopt.policy.linting.finding import CheckGroup, Finding, Level, LintRule
from promptopt.policy.linting.options import LintOptions
from promptopt.policy.linting.subject import ClauseView, Subject, text
from promptopt.policy.linting.text import content_words
from promptopt.policy.model import Clause, Policy

NO_CHANGE = LintRule(
    code="PL501",
    name="version without a changelog entry",
    level=Level.WARNING,
    finds="the changelog has no entry for the policy's version, or an empty one",
    remedy="add an entry with version, date and what changed",
)
REPEATED_VERSION = LintRule(
    code="PL502",
    name="version twice in the changelog",
    level=Level.WARNING,
    finds="two entries of the changelog have one version",
    remedy="merge them, or correct a version",
)
DEAD_TERM = LintRule(
    code="PL503",
    name="dead term",
    level=Level.WARNING,
    finds="a defined word is used nowhere else in the policy",
    remedy="use it in a definition, or drop it",
)
REPEATED_TERM = LintRule(
    code="PL504",
    name="term defined twice",
    level=Level.ERROR,
    finds="a word has two definitions",
    remedy="keep one of them",
)
REUSED_ID = LintRule(
    code="PL511",
    name="clause id reused",
    level=Level.ERROR,
    finds="a clause means something else than the clause of that id in the previous version, which old labels cite",
    remedy="give the new clause an id that was never used",
)
SAME_VERSION = LintRule(
    code="PL512",
    name="changed policy, same version",
    level=Level.ERROR,
    finds="the policy differs from the previous one and has its version",
    remedy="raise the version and add an entry to the changelog",
)


def check(subject: Subject, options: LintOptions) -> Iterator[Finding]:
    """Faults of the changelog and the terms."""
    version = subject.text("version")
    entries = subject.file.data.get("changelog")
    listed = [e for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    said = [text(e.get("change")).strip() for e in listed if e.get("version") == version]
    if version and not any(said):
        key = "changelog" if "changelog" in subject.file.data else "version"
        yield NO_CHANGE.at(subject, (key,), f"the changelog does not say what version {version} changed")
    yield from _repeated_versions(subject)
    known: dict[str, int] = {}
    for number, term, _ in subject.terms:
        place = ("terms", number)
        if term.casefold() in known:
            yield REPEATED_TERM.at(subject, place, f"{term!r} is defined on line {known[term.casefold()]} already")
        known.setdefault(term.casefold(), subject.file.line(place))


def _repeated_versions(subject: Subject) -> Iterator[Finding]:
    entries = subject.file.data.get("changelog")
    lines: dict[str, int] = {}
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        name = text(entry.get("version")) if isinstance(entry, dict) else ""
        if name in lines:
            reason = f"version {name} stands on line {lines[name]} already"
            yield REPEATED_VERSION.at(subject, ("changelog", number), reason)
        if name:
            lines.setdefault(name, subject.file.line(("changelog", number)))


def check_use(subject: Subject, options: LintOptions) -> Iterator[Finding]:
    """Defined words that nothing uses; a use has all words of the term, in any form, in one place."""
    places = [(place[:2], content_words(said)) for place, said in subject.prose()]
    for number, term, _ in subject.terms:
        needed = content_words(term)
        if needed and not any(needed <= said for place, said in places if place != ("terms", number)):
            yield DEAD_TERM.at(subject, ("terms", number), f"{term!r} is used nowhere")


def check_previous(subject: Subject, options: LintOptions) -> Iterator[Finding]:
    """Ids and version against the previous policy's, where one is given."""
    before = options.previous
    if before is None:
        return
    for clause in subject.clauses:
        old = before.by_id.get(clause.id)
        if old is not None and _means_something_else(clause, old):
            reason = f"{clause.id} was {old.title!r} in version {before.version}"
            yield REUSED_ID.at(subject, clause.at("id"), reason)
    if (
        subject.policy is not None
        and subject.policy.version == before.version
        and _read(subject.policy) != _read(before)
    ):
        yield SAME_VERSION.at(subject, ("version",), f"version {before.version} said something else")


def _read(policy: Policy) -> dict[str, Any]:
    """What people and judges read of a policy: templates only make test cases."""
    return policy.model_dump(exclude={"templates"})


def _means_something_else(clause: ClauseView, old: Clause) -> bool:
    sides = clause.severity is not None and clause.is_violating != old.is_violating
    return sides or clause_likeness(old, clause) < OTHER_CLAUSE


GROUP = CheckGroup(rules=(NO_CHANGE, REPEATED_VERSION, REPEATED_TERM), check=check)
USE = CheckGroup(rules=(DEAD_TERM,), check=check_use, english=True)
PREVIOUS = CheckGroup(rules=(REUSED_ID, SAME_VERSION), check=check_previous)
