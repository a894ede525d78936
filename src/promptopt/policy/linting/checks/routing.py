"""Routing: rules that cannot decide, that compete, or that decide against the clauses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from promptopt.core.yaml_file import Place
from promptopt.policy.contradictions import MAX_ENUMERATED, Kind, outcome, routing_contradictions
from promptopt.policy.linting.finding import CheckGroup, Finding, Level, LintRule
from promptopt.policy.linting.options import LintOptions
from promptopt.policy.linting.subject import MOST_COMPARED, ClauseView, Subject
from promptopt.policy.model import Outcome, Rule, When

NEVER_DECIDES = LintRule(
    code="PL108",
    name="unreachable rule",
    level=Level.ERROR,
    finds="a routing rule can never decide, because an earlier one always does or its condition cannot hold",
    remedy="remove the rule, or put it before the one that hides it",
)
COMPETING = LintRule(
    code="PL109",
    name="rules that both must come first",
    level=Level.ERROR,
    finds="two rules have the same condition, or both hold always, so that each would have to come before the other",
    remedy="keep the rule that is meant, or tell their conditions apart",
)
NO_LAST_RULE = LintRule(
    code="PL110",
    name="no closing rule",
    level=Level.ERROR,
    finds="the last rule has a condition, so that some texts get no verdict",
    remedy="end the routing with `when: {}` and the outcome of everything else",
)
ALLOWED_ALONE = LintRule(
    code="PL111",
    name="violation that the routing allows",
    level=Level.ERROR,
    finds="a violating clause is allowed even where nothing else applies",
    remedy="name the clause in a rule that concludes violation or escalate",
)
LIFTED_ZERO_TOLERANCE = LintRule(
    code="PL112",
    name="zero tolerance that is lifted",
    level=Level.ERROR,
    finds="a rule can allow, or leave to people, what a zero-tolerance clause covers",
    remedy="route the clause first, by a rule without `none`",
)
EXCEPTION_WITHOUT_EFFECT = LintRule(
    code="PL113",
    name="exception without effect",
    level=Level.ERROR,
    finds="a clause names an exception that the routing does not heed",
    remedy="add the exception to `none` of the rule that routes the clause, or take it from the clause",
)
UNDECLARED_EXCEPTION = LintRule(
    code="PL114",
    name="exception that the clause does not name",
    level=Level.WARNING,
    finds="the routing lifts a clause by a context that is not among the clause's exceptions",
    remedy="add it to the clause's exceptions, or take it from `none` of the rule",
)
_KINDS = {
    Kind.NEVER_DECIDES: NEVER_DECIDES,
    Kind.LIFTED_ZERO_TOLERANCE: LIFTED_ZERO_TOLERANCE,
    Kind.ALLOWED_ALONE: ALLOWED_ALONE,
    Kind.EXCEPTION_WITHOUT_EFFECT: EXCEPTION_WITHOUT_EFFECT,
}

_MOST_RULES = 200


def check(subject: Subject, options: LintOptions) -> Iterator[Finding]:
    """Faults of the routing. Rules that cite unknown clauses are left to the check of references."""
    listed = subject.file.data.get("routing")
    if subject.rules and isinstance(listed, list) and subject.rules[-1][0] == len(listed) - 1:
        number, last = subject.rules[-1]
        if not last.when.is_empty:
            yield NO_LAST_RULE.at(subject, ("routing", number), f"rule {last.id} is the last and has a condition")
    known = [(number, rule) for number, rule in subject.rules if set(rule.when.clauses) <= subject.by_id.keys()]
    competing = list(_competing(subject, known))
    yield from (finding for _, finding in competing)
    whole = isinstance(listed, list) and len(known) == len(listed)
    hidden = {number for number, _ in competing}
    decides = whole and bool(known) and known[-1][1].when.is_empty and len(subject.clauses) <= MOST_COMPARED
    if not decides or not _is_enumerated(known):
        shadowed = {number: found for number, found in _shadowed(subject, known) if number not in hidden}
        yield from shadowed.values()
        hidden |= shadowed.keys()
    if not decides:  # a rule is missing or cannot be read, and what follows would blame the wrong one
        return
    clauses = [
        replace(c, exceptions=tuple(e for e in c.exceptions if e in subject.by_id))
        for c in subject.clauses
        if subject.by_id[c.id] is c
    ]
    yield from _against_clauses(subject, clauses, known, hidden)
    yield from _undeclared(subject, clauses, [rule for _, rule in known])


def _competing(subject: Subject, rules: Sequence[tuple[int, Rule]]) -> Iterator[tuple[int, Finding]]:
    seen: dict[tuple[object, ...], Rule] = {}
    for number, rule in rules:
        when = rule.when
        # One clause under `any` is the same condition as under `all`.
        needed = set(when.all) | (set(when.any) if len(set(when.any)) == 1 else set())
        choice = frozenset(when.any) if len(set(when.any)) > 1 else frozenset()
        condition = (choice, frozenset(needed), frozenset(when.none))
        if condition in seen:
            first = seen[condition]
            reason = f"rules {first.id} and {rule.id} have the same condition"
            if first.then is not rule.then:
                reason += f", and conclude {first.then} and {rule.then}"
            yield number, COMPETING.at(subject, ("routing", number), reason)
        seen.setdefault(condition, rule)


def _is_enumerated(rules: Sequence[tuple[int, Rule]]) -> bool:
    return len({clause for _, rule in rules for clause in rule.when.clauses}) <= MAX_ENUMERATED


def _shadowed(subject: Subject, rules: Sequence[tuple[int, Rule]]) -> Iterator[tuple[int, Finding]]:
    """Rules that cannot decide, as far as two rules show it, whatever stands between them."""
    for place, (number, rule) in enumerate(rules[:_MOST_RULES]):
        when = rule.when
        never = set(when.all) & set(when.none) or (when.any and set(when.any) <= set(when.none))
        before = next((r for _, r in rules[:place] if _implies(when, r.when)), None)
        if never or before is not None:
            why = "its condition never holds" if never or before is None else f"{before.id} decides first"
            reason = f"routing rule {rule.id} can never decide: {why}"
            yield number, NEVER_DECIDES.at(subject, ("routing", number), reason)


def _implies(one: When, other: When) -> bool:
    """Whether the other condition holds wherever the one does; may miss some that do."""
    any_holds = not other.any or set(other.any) & set(one.all) or (one.any and set(one.any) <= set(other.any))
    return set(other.all) <= set(one.all) and set(other.none) <= set(one.none) and bool(any_holds)


def _against_clauses(
    subject: Subject, clauses: Sequence[ClauseView], rules: Sequence[tuple[int, Rule]], hidden: set[int]
) -> Iterator[Finding]:
    for found in routing_contradictions(clauses, [rule for _, rule in rules]):
        place: Place = found.place
        if place[0] == "routing":
            number = rules[int(place[1])][0]
            if found.kind is Kind.NEVER_DECIDES and number in hidden:
                continue
            place = ("routing", number)
        else:
            place = clauses[int(place[1])].at(*place[2:])
        yield _KINDS[found.kind].at(subject, place, found.message)


def _undeclared(subject: Subject, clauses: Sequence[ClauseView], rules: Sequence[Rule]) -> Iterator[Finding]:
    for clause in clauses:
        if not clause.is_violating or outcome(clauses, rules, {clause.id}) is Outcome.ALLOWED:
            continue
        for context in clauses:
            if context.is_violating or context.id in clause.exceptions or clause.zero_tolerance:
                continue
            if outcome(clauses, rules, {clause.id, context.id}) is Outcome.ALLOWED:
                yield UNDECLARED_EXCEPTION.at(
                    subject,
                    clause.at("exceptions"),
                    f"the routing lifts {clause.id} by {context.id}, which is none of its exceptions",
                )


GROUP = CheckGroup(
    rules=(
        NEVER_DECIDES,
        COMPETING,
        NO_LAST_RULE,
        ALLOWED_ALONE,
        LIFTED_ZERO_TOLERANCE,
        EXCEPTION_WITHOUT_EFFECT,
        UNDECLARED_EXCEPTION,
    ),
    check=check,
)
