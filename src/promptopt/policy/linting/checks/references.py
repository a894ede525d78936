"""Ids: used twice, cited and not defined, or missing from the precedence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from promptopt.core.yaml_file import Place
from promptopt.policy.linting.finding import CheckGroup, Finding, Level, LintRule
from promptopt.policy.linting.options import LintOptions
from promptopt.policy.linting.subject import Subject

REPEATED_CLAUSE = LintRule(
    code="PL101",
    name="clause id used twice",
    level=Level.ERROR,
    finds="two clauses of the file have one id",
    remedy="give the later clause an id of its own",
)
UNKNOWN_CLAUSE = LintRule(
    code="PL102",
    name="unknown clause",
    level=Level.ERROR,
    finds="a rule, an exception, the precedence, an example or a template cites a clause that is not defined",
    remedy="cite a clause of this file, or define it",
)
REPEATED_IN_PRECEDENCE = LintRule(
    code="PL103",
    name="cyclic precedence",
    level=Level.ERROR,
    finds="the precedence names a clause twice, so that it would come before and after those in between",
    remedy="keep one of the places",
)
MISSING_IN_PRECEDENCE = LintRule(
    code="PL104",
    name="clause without precedence",
    level=Level.ERROR,
    finds="the precedence leaves out a violating clause",
    remedy="name it where it is to be cited",
)
PERMITTING_IN_PRECEDENCE = LintRule(
    code="PL105",
    name="permitting clause in the precedence",
    level=Level.ERROR,
    finds="the precedence names a clause of severity 0, which no violation cites",
    remedy="take it out",
)
REPEATED_RULE = LintRule(
    code="PL106",
    name="rule id used twice",
    level=Level.ERROR,
    finds="two routing rules have one id",
    remedy="give the later rule an id of its own",
)
NO_VIOLATING_CLAUSE = LintRule(
    code="PL107",
    name="nothing violates",
    level=Level.ERROR,
    finds="no clause has a severity of 1 or more",
    remedy="give the clauses that describe violations their severities",
)

_MOST_NAMED = 20


def check(subject: Subject, options: LintOptions) -> Iterator[Finding]:
    """Ids that do not agree."""
    for clause in subject.clauses:
        if subject.by_id[clause.id] is not clause:
            first = subject.file.line(subject.by_id[clause.id].at("id"))
            yield REPEATED_CLAUSE.at(subject, clause.at("id"), f"{clause.id} is the clause of line {first} already")
    yield from _repeated_rules(subject)
    known = ", ".join(list(subject.by_id)[:_MOST_NAMED]) + (" ..." if len(subject.by_id) > _MOST_NAMED else "")
    for place, cited in _citations(subject):
        for name in dict.fromkeys(cited):
            if name not in subject.by_id:
                remedy = f"cite one of {known}, or define {name}"
                yield UNKNOWN_CLAUSE.at(subject, place, f"there is no clause {name}", remedy)
    yield from _precedence(subject)
    if subject.clauses and not subject.violating:
        yield NO_VIOLATING_CLAUSE.at(subject, ("clauses",), "no clause has a severity of 1 or more")


def _repeated_rules(subject: Subject) -> Iterator[Finding]:
    lines: dict[str, int] = {}
    for number, rule in subject.rules:
        place = ("routing", number, "id")
        if rule.id in lines:
            yield REPEATED_RULE.at(subject, place, f"{rule.id} is the rule of line {lines[rule.id]} already")
        lines.setdefault(rule.id, subject.file.line(place))


def _citations(subject: Subject) -> Iterator[tuple[Place, Iterable[str]]]:
    for clause in subject.clauses:
        yield clause.at("exceptions"), clause.exceptions
    for number, rule in subject.rules:
        yield ("routing", number, "when"), rule.when.clauses
    yield ("precedence",), subject.precedence
    for number, example in subject.examples:
        yield ("boundary_examples", number, "clause"), () if example.clause is None else (example.clause,)
    for number, template in subject.templates:
        yield ("templates", number, "clause"), (template.clause,)


def _precedence(subject: Subject) -> Iterator[Finding]:
    for name, times in Counter(subject.precedence).items():
        if times > 1:
            yield REPEATED_IN_PRECEDENCE.at(subject, ("precedence",), f"{name} stands {times} times")
        if name in subject.by_id and not subject.by_id[name].is_violating:
            yield PERMITTING_IN_PRECEDENCE.at(subject, ("precedence",), f"{name} permits and is never cited first")
    if not isinstance(subject.file.data.get("precedence"), list):
        return
    named = set(subject.precedence)
    for clause in subject.violating:
        if clause.id not in named:
            yield MISSING_IN_PRECEDENCE.at(subject, ("precedence",), f"{clause.id} is left out")


GROUP = CheckGroup(
    rules=(
        REPEATED_CLAUSE,
        UNKNOWN_CLAUSE,
        REPEATED_IN_PRECEDENCE,
        MISSING_IN_PRECEDENCE,
        PERMITTING_IN_PRECEDENCE,
        REPEATED_RULE,
        NO_VIOLATING_CLAUSE,
    ),
    check=check,
)
