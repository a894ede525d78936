"""Clauses compared with each other: what two of them claim, and what one both claims and disclaims."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import combinations

from promptopt.policy.linting.finding import CheckGroup, Finding, Level, LintRule
from promptopt.policy.linting.options import LintOptions
from promptopt.policy.linting.subject import ClauseView, Subject
from promptopt.policy.linting.text import content_words, likeness

SAME_DEFINITION = LintRule(
    code="PL221",
    name="overlapping clauses",
    level=Level.WARNING,
    finds="two clauses have nearly the same definition",
    remedy="merge them, or say in both what tells them apart",
)
SAME_INCLUDE = LintRule(
    code="PL222",
    name="include of two clauses",
    level=Level.WARNING,
    finds="two clauses of the same kind include the same thing, so that two people may cite two clauses",
    remedy="leave it to one clause and name that one among the excludes of the other",
)
BOTH_OUTCOMES = LintRule(
    code="PL223",
    name="include with opposite outcomes",
    level=Level.ERROR,
    finds="a violating and a permitting clause include the same thing",
    remedy="keep it where it belongs, and put it among the excludes of the other clause",
)
SELF_CONTRADICTION = LintRule(
    code="PL224",
    name="included and excluded",
    level=Level.ERROR,
    finds="a clause includes and excludes the same thing",
    remedy="keep one of the two",
)
NOBODY_DECIDES = LintRule(
    code="PL225",
    name="exclude that disowns the definition",
    level=Level.ERROR,
    finds="a clause excludes what its own definition or title says",
    remedy="reword the exclude so that it names what looks alike and is not covered",
)
_NEAR = 0.7
_SAME = 0.8
_MOST_INCLUDES = 30
_CITATION = re.compile(r"\s*\([A-Z]{1,4}\d{1,3}(?:\.[a-z])?\)")


def check(subject: Subject, options: LintOptions) -> Iterator[Finding]:
    """Pairs of clauses."""
    clauses = subject.compared
    included = [[_key(text) for text in clause.includes[:_MOST_INCLUDES]] for clause in clauses]
    defined = [content_words(clause.definition) for clause in clauses]
    for one, other in combinations(range(len(clauses)), 2):
        first, second = clauses[one], clauses[other]
        if (near := likeness(defined[one], defined[other])) >= _NEAR:
            reason = f"{first.id} and {second.id} have definitions that are {near:.0%} alike"
            yield SAME_DEFINITION.at(subject, second.at("definition"), reason)
        yield from _shared(subject, first, second, included[one], included[other])
    for clause, mine in zip(clauses, included, strict=True):
        yield from _own(subject, clause, mine)


def _shared(
    subject: Subject,
    first: ClauseView,
    second: ClauseView,
    mine: Sequence[frozenset[str]],
    theirs: Sequence[frozenset[str]],
) -> Iterator[Finding]:
    for i, one in enumerate(mine):
        for j, other in enumerate(theirs):
            if likeness(one, other) < _SAME:
                continue
            rule = SAME_INCLUDE if first.is_violating == second.is_violating else BOTH_OUTCOMES
            line = subject.file.line(first.at("includes", i))
            reason = f"{second.includes[j]!r} is what {first.id} includes on line {line}"
            yield rule.at(subject, second.at("includes", j), reason)


def _own(subject: Subject, clause: ClauseView, included: Sequence[frozenset[str]]) -> Iterator[Finding]:
    said = (content_words(clause.definition), content_words(clause.title))
    for j, exclude in enumerate(clause.excludes):
        key, place = _key(exclude), clause.at("excludes", j)
        if any(likeness(key, include) >= _SAME for include in included):
            yield SELF_CONTRADICTION.at(subject, place, f"{clause.id} includes and excludes {exclude!r}")
        elif any(likeness(key, words) >= _SAME for words in said):
            yield NOBODY_DECIDES.at(subject, place, f"{exclude!r} is what {clause.id} is about")


def _key(text: str) -> frozenset[str]:
    """What a text is about, whichever clause it refers to."""
    return content_words(_CITATION.sub("", text)) or frozenset((text.casefold().strip(),))


GROUP = CheckGroup(
    rules=(SAME_DEFINITION, SAME_INCLUDE, BOTH_OUTCOMES, SELF_CONTRADICTION, NOBODY_DECIDES), check=check
)
