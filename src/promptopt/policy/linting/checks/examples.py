"""Examples: both sides of every clause, and none of them against itself.

A template counts as an example: filled it shows what its clause covers, with its controls what is close and allowed.
"""

from __future__ import annotations

from collections.abc import Iterator

from promptopt.core.case import Label
from promptopt.policy.contradictions import misplaced_examples
from promptopt.policy.linting.finding import CheckGroup, Finding, Level, LintRule
from promptopt.policy.linting.options import LintOptions
from promptopt.policy.linting.subject import Subject

NO_POSITIVE = LintRule(
    code="PL401",
    name="clause without a positive example",
    level=Level.WARNING,
    finds="neither a boundary example nor a template shows a text that the clause covers",
    remedy="add a boundary example that cites the clause, or a template",
)
NO_NEGATIVE = LintRule(
    code="PL402",
    name="clause without a negative example",
    level=Level.WARNING,
    finds="nothing shows a text close to a violating clause that is allowed",
    remedy="put an allowed boundary example right after the clause's own, or give its template `controls`",
)
WRONG_SIDE = LintRule(
    code="PL403",
    name="example on the wrong side",
    level=Level.ERROR,
    finds="a boundary example is labelled otherwise than the clause it cites says",
    remedy="correct its label or its clause",
)
REPEATED = LintRule(
    code="PL404",
    name="example that stands twice",
    level=Level.WARNING,
    finds="two boundary examples have one text",
    remedy="keep one of them",
)
UNCITED = LintRule(
    code="PL405",
    name="violation without a clause",
    level=Level.WARNING,
    finds="a boundary example is a violation and cites no clause",
    remedy="name the clause that it violates",
)


def check(subject: Subject, options: LintOptions) -> Iterator[Finding]:
    """Faults of examples, and of clauses that lack them."""
    clauses = [c for c in subject.clauses if subject.by_id[c.id] is c]
    numbers = [number for number, _ in subject.examples]
    for found in misplaced_examples(clauses, [example for _, example in subject.examples]):
        number = numbers[int(found.place[1])]
        yield WRONG_SIDE.at(subject, ("boundary_examples", number), found.message)
    yield from _single(subject)
    covered, bounded = _shown(subject)
    for clause in clauses:
        if clause.id not in covered:
            neither = ", nor what is close to it and allowed" if clause.is_violating else ""
            yield NO_POSITIVE.at(subject, clause.at(), f"no example shows what {clause.id} covers{neither}")
        elif clause.is_violating and clause.id not in bounded:
            yield NO_NEGATIVE.at(subject, clause.at(), f"no example shows what is close to {clause.id} and allowed")


def _single(subject: Subject) -> Iterator[Finding]:
    lines: dict[str, int] = {}
    for number, example in subject.examples:
        place = ("boundary_examples", number)
        key = " ".join(example.text.casefold().split())
        if key in lines:
            yield REPEATED.at(subject, place, f"it has the text of the example on line {lines[key]}")
        lines.setdefault(key, subject.file.line(place))
        if example.label is Label.VIOLATION and example.clause is None:
            yield UNCITED.at(subject, place, "it is a violation and cites no clause")


def _shown(subject: Subject) -> tuple[set[str], set[str]]:
    """Ids of clauses with an example of what they cover, and of those with one of what is close to it and allowed.

    Examples are read as pairs, a violation and the allowed text right after it, as annotators see them side by side.
    """
    covered, bounded = set[str](), set[str]()
    before: str | None = None
    for _, example in subject.examples:
        violation = example.label is Label.VIOLATION
        clause = subject.by_id.get(example.clause or "")
        if clause is not None and clause.is_violating == violation:
            covered.add(clause.id)
        if before is not None and not violation:
            bounded.add(before)
        before = example.clause if violation else None
    for _, template in subject.templates:
        covered.add(template.clause)
        if template.controls:
            bounded.add(template.clause)
    return covered, bounded


GROUP = CheckGroup(rules=(NO_POSITIVE, NO_NEGATIVE, WRONG_SIDE, REPEATED, UNCITED), check=check)
