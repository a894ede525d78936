"""A clause by itself: severity, action, exceptions."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from promptopt.policy.linting.finding import CheckGroup, Finding, Level, LintRule
from promptopt.policy.linting.options import LintOptions
from promptopt.policy.linting.subject import ClauseView, Subject
from promptopt.policy.linting.text import content_words
from promptopt.policy.procedure import MAX_CHECKLIST_CLAUSES

SWALLOWING = LintRule(
    code="PL203",
    name="exception that swallows its clause",
    level=Level.WARNING,
    finds="an exception covers nearly everything that its clause covers, or every text there is",
    remedy="narrow the exception to what is to be permitted, or drop the clause",
)
ACTION = LintRule(
    code="PL204",
    name="action that does not fit",
    level=Level.ERROR,
    finds="a violating clause is to be allowed, or a permitting one acted upon",
    remedy="give `allow` to severity 0 and to nothing else",
)
ZERO_TOLERANCE = LintRule(
    code="PL205",
    name="zero tolerance with exceptions",
    level=Level.ERROR,
    finds="a clause is zero-tolerance and has exceptions",
    remedy="drop one of the two",
)
VIOLATING_EXCEPTION = LintRule(
    code="PL206",
    name="exception that is a violation",
    level=Level.ERROR,
    finds="a clause is lifted by a clause that itself describes a violation",
    remedy="cite clauses of severity 0",
)
IDLE_CONTEXT = LintRule(
    code="PL207",
    name="context that permits nothing",
    level=Level.WARNING,
    finds="a clause of severity 0 is no clause's exception",
    remedy="name it among the exceptions of the clauses that it lifts, or drop it",
)
MILD_ZERO_TOLERANCE = LintRule(
    code="PL208",
    name="mild zero tolerance",
    level=Level.WARNING,
    finds="a zero-tolerance clause has a severity below 3",
    remedy="raise the severity, or let contexts lift the clause",
)
PRECEDENCE_AGAINST_SEVERITY = LintRule(
    code="PL209",
    name="precedence against severity",
    level=Level.WARNING,
    finds="a clause is cited before a more severe one, so that the verdict shows the lesser severity",
    remedy="order the precedence by falling severity",
)
TOO_MANY = LintRule(
    code="PL210",
    name="too many clauses",
    level=Level.WARNING,
    finds=f"the policy has more than {MAX_CHECKLIST_CLAUSES} clauses, which no checklist takes",
    remedy="merge clauses, or divide the policy into two domains",
)
REPEATED_TITLE = LintRule(
    code="PL211",
    name="title used twice",
    level=Level.WARNING,
    finds="two clauses have one title",
    remedy="say in the titles what tells them apart",
)
_SWALLOWED_SHARE = 0.7
_FEWEST_WORDS = 3
_EVERYTHING = re.compile(
    r"\b(?:any|all|every|whatever)\s+(?:kinds? of\s+|other\s+)?"
    r"(?:texts?|contents?|posts?|messages?|speech|statements?|remarks?)\b"
    r"(?!\s+(?:that|which|who|in|by|about|on|of|from|quot|report)\b)",
    re.IGNORECASE,
)


def check(subject: Subject, options: LintOptions) -> Iterator[Finding]:
    """Faults of single clauses and of their order."""
    for clause in subject.clauses:
        yield from _clause(subject, clause)
    yield from _swallowed(subject)
    yield from _order(subject)
    used = {name for clause in subject.violating for name in clause.exceptions}
    for context in subject.permitting:
        if context.id not in used and context.severity is not None and subject.violating:
            yield IDLE_CONTEXT.at(subject, context.at(), f"{context.id} is no clause's exception")
    if len(subject.clauses) > MAX_CHECKLIST_CLAUSES:
        reason = f"the policy has {len(subject.clauses)} clauses, a checklist takes {MAX_CHECKLIST_CLAUSES}"
        yield TOO_MANY.at(subject, subject.clauses[MAX_CHECKLIST_CLAUSES].at(), reason)
    titles: dict[str, str] = {}
    for clause in subject.clauses:
        title = clause.title.casefold().strip()
        if title and title in titles:
            yield REPEATED_TITLE.at(subject, clause.at("title"), f"{titles[title]} has the same title")
        titles.setdefault(title, clause.id)


def _clause(subject: Subject, clause: ClauseView) -> Iterator[Finding]:
    if clause.severity is not None and clause.action and clause.is_violating == (clause.action == "allow"):
        reason = f"action {clause.action} does not fit severity {clause.severity}"
        yield ACTION.at(subject, clause.at("action"), reason)
    if clause.zero_tolerance and clause.exceptions:
        reason = f"{clause.id} is zero_tolerance and has the exceptions {', '.join(clause.exceptions)}"
        yield ZERO_TOLERANCE.at(subject, clause.at("exceptions"), reason)
    if clause.zero_tolerance and clause.severity in (1, 2):
        reason = f"{clause.id} is zero_tolerance at severity {clause.severity}"
        yield MILD_ZERO_TOLERANCE.at(subject, clause.at("zero_tolerance"), reason)
    for name in clause.exceptions:
        if name in subject.by_id and subject.by_id[name].is_violating:
            yield VIOLATING_EXCEPTION.at(subject, clause.at("exceptions"), f"{name} describes a violation")


def _swallowed(subject: Subject) -> Iterator[Finding]:
    lifted: dict[str, list[ClauseView]] = {}
    for clause in subject.compared:
        for name in clause.exceptions if clause.is_violating else ():
            if name in subject.by_id and not subject.by_id[name].is_violating:
                lifted.setdefault(name, []).append(clause)
    for name, clauses in lifted.items():
        context = subject.by_id[name]
        if everything := _EVERYTHING.search(context.definition):
            ids = ", ".join(clause.id for clause in clauses)
            reason = f"{name} permits {everything.group(0).lower()!r}, and so lifts {ids} altogether"
            yield SWALLOWING.at(subject, context.at("definition"), reason)
            continue
        covered = content_words(" ".join((context.title, context.definition, *context.includes)))
        for clause in clauses:
            needed = content_words(clause.definition)
            if len(needed) >= _FEWEST_WORDS and len(needed & covered) / len(needed) >= _SWALLOWED_SHARE:
                share = len(needed & covered) / len(needed)
                reason = f"exception {name} says {share:.0%} of what {clause.id} defines"
                yield SWALLOWING.at(subject, clause.at("exceptions"), reason)


def _order(subject: Subject) -> Iterator[Finding]:
    known = [subject.by_id[name] for name in dict.fromkeys(subject.precedence) if name in subject.by_id]
    graded = [(clause, clause.severity) for clause in known if clause.severity]
    for (first, mild), (second, severe) in pairwise(graded):
        if mild < severe:
            reason = f"{first.id} (severity {mild}) comes before {second.id} (severity {severe})"
            yield PRECEDENCE_AGAINST_SEVERITY.at(subject, ("precedence",), reason)


GROUP = CheckGroup(
    rules=(
        SWALLOWING,
        ACTION,
        ZERO_TOLERANCE,
        VIOLATING_EXCEPTION,
        IDLE_CONTEXT,
        MILD_ZERO_TOLERANCE,
        PRECEDENCE_AGAINST_SEVERITY,
        TOO_MANY,
        REPEATED_TITLE,
    ),
    check=check,
)
