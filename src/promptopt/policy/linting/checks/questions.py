"""The yes/no questions that people and models are asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from promptopt.core.yaml_file import Place
from promptopt.policy.linting.finding import CheckGroup, Finding, Level, LintRule
from promptopt.policy.linting.options import LintOptions
from promptopt.policy.linting.subject import Subject
from promptopt.policy.linting.text import content_words, likeness, without_quotations, words

NOT_YES_NO = LintRule(
    code="PL311",
    name="question without yes or no",
    level=Level.WARNING,
    finds="a question does not begin as a yes/no question, or does not end with a question mark",
    remedy="ask `Does the text ...?` or `Is the text ...?`",
)
DOUBLE = LintRule(
    code="PL312",
    name="double-barrelled question",
    level=Level.WARNING,
    finds="a question asks two things at once, so that *no* says nothing about either",
    remedy="ask one thing, or make two clauses of it",
)
REPEATED = LintRule(
    code="PL313",
    name="duplicate question",
    level=Level.WARNING,
    finds="two clauses ask nearly the same question",
    remedy="ask in each what tells it from the other",
)
NEGATED = LintRule(
    code="PL314",
    name="negated question",
    level=Level.WARNING,
    finds="a question asks whether something is not so, and *no* then affirms it",
    remedy="ask for what makes the clause apply",
)
_AUXILIARY = "is|are|was|were|do|does|did|has|have|had|can|could|may|might|must|should|will|would"
_YES_NO = re.compile(rf"^(?:{_AUXILIARY})\s+.*\?$", re.IGNORECASE | re.DOTALL)
_TWO_QUESTIONS = re.compile(rf"\?.*\?|\band/or\b|\b(?:and|or)\s+(?:{_AUXILIARY})\b|\bas well as\b", re.I | re.S)
_VERB = re.compile(rf"^(?:{_AUXILIARY})\s+(?:the\s+)?\w+\s+(\w+)", re.IGNORECASE)
_NEGATED = re.compile(
    rf"^(?:(?:{_AUXILIARY})n['’]t\b|(?:{_AUXILIARY})\s+(?:the\s+)?\w+\s+(?:not|never)\b)", re.IGNORECASE
)
_SAME = 0.8


def check(subject: Subject, options: LintOptions) -> Iterator[Finding]:
    """Faults of the policy's question and of each clause's."""
    asked = [(("question",), subject.text("question")), *((c.at("question"), c.question) for c in subject.clauses)]
    verbs = {found[1].lower() for _, question in asked if (found := _VERB.match(question))}
    for place, question in asked:
        if question.strip():
            yield from _question(subject, place, question.strip(), verbs)
    seen: list[tuple[str, frozenset[str]]] = []
    for clause in subject.compared:
        said = content_words(clause.question)
        for name, other in seen:
            if said and likeness(said, other) >= _SAME:
                yield REPEATED.at(subject, clause.at("question"), f"{name} asks nearly the same")
                break
        seen.append((clause.id, said))


def _question(subject: Subject, place: Place, question: str, verbs: set[str]) -> Iterator[Finding]:
    if _NEGATED.match(question):
        yield NEGATED.at(subject, place, "the question asks whether something is not so")
    elif not _YES_NO.match(question):
        yield NOT_YES_NO.at(subject, place, "the question cannot be answered by yes or no")
    said = without_quotations(question)
    if (found := _TWO_QUESTIONS.search(said)) or _two_verbs(said, verbs):
        joint = f"{found.group(0).strip(', ')!r}" if found and len(found.group(0)) < 20 else "two questions in one"
        reason = f"the question asks two things at once ({joint})" if found else "`and` joins two things that it asks"
        yield DOUBLE.at(subject, place, reason)


def _two_verbs(question: str, verbs: set[str]) -> bool:
    """Whether ``and`` is followed by a word that this policy's questions use as their verb."""
    said = words(question)
    return any(one == "and" and two in verbs for one, two in pairwise(said))


GROUP = CheckGroup(rules=(NOT_YES_NO, DOUBLE, REPEATED, NEGATED), check=check, english=True)
