"""Length against what a judge reads well, and reading level."""

from __future__ import annotations

import math
from collections.abc import Iterator

from promptopt.policy.linting.finding import CheckGroup, Finding, Level, LintRule
from promptopt.policy.linting.options import LintOptions
from promptopt.policy.linting.subject import ClauseView, Subject
from promptopt.policy.linting.text import estimated_tokens, reading_grade, words

TOO_LONG = LintRule(
    code="PL321",
    name="policy over the judge's budget",
    level=Level.WARNING,
    finds="the definitions take more tokens than the budget, or with includes and excludes 1.5 times the budget",
    remedy="shorten definitions, drop clauses that never decide, or divide the policy into two domains",
)
LONG_DEFINITION = LintRule(
    code="PL322",
    name="long definition",
    level=Level.WARNING,
    finds="a definition has more words than one sentence should",
    remedy="move kinds of text to `includes` and `excludes`, and words that need explaining to `terms`",
)
HARD_POLICY = LintRule(
    code="PL323",
    name="reading level of the policy",
    level=Level.WARNING,
    finds="the policy as a whole is above the highest school grade",
    remedy="use shorter sentences and plainer words",
)
HARD_DEFINITION = LintRule(
    code="PL324",
    name="reading level of a definition",
    level=Level.WARNING,
    finds="one definition is more than six grades above the highest school grade",
    remedy="use shorter words, or divide the sentence",
)
_WITH_CRITERIA = 1.5
_GRADES_ABOVE = 6.0
_FEWEST_WORDS = 8


def check(subject: Subject, options: LintOptions) -> Iterator[Finding]:
    """Tokens as estimated by :func:`estimated_tokens`, of what a judge is shown of the clauses."""
    definitions = estimated_tokens("\n".join(map(_defined, subject.clauses)))
    criteria = estimated_tokens("\n".join(map(_with_criteria, subject.clauses)))
    most = round(options.budget * _WITH_CRITERIA)
    if definitions > options.budget:
        reason = f"the definitions take about {definitions:,} tokens, more than {options.budget:,}"
        yield TOO_LONG.at(subject, ("clauses",), reason)
    elif criteria > most:
        reason = f"the definitions with includes and excludes take about {criteria:,} tokens, more than {most:,}"
        yield TOO_LONG.at(subject, ("clauses",), reason)
    for clause in subject.clauses:
        if (length := len(words(clause.definition))) > options.max_definition_words:
            reason = f"the definition has {length} words, more than {options.max_definition_words}"
            yield LONG_DEFINITION.at(subject, clause.at("definition"), reason)


def check_reading(subject: Subject, options: LintOptions) -> Iterator[Finding]:
    """School grades by Flesch and Kincaid."""
    definitions = [text for c in subject.clauses for text in (c.definition, c.question)]
    grade = reading_grade([subject.text("purpose"), subject.text("summary"), *definitions])
    if not math.isnan(grade) and grade > options.max_grade:
        reason = f"purpose, summary, definitions and questions read at grade {grade:.1f}, above {options.max_grade:g}"
        yield HARD_POLICY.at(subject, ("summary",), reason)
    most = options.max_grade + _GRADES_ABOVE
    for clause in subject.clauses:
        if len(words(clause.definition)) >= _FEWEST_WORDS and (own := reading_grade([clause.definition])) > most:
            reason = f"the definition reads at grade {own:.1f}, above {most:g}"
            yield HARD_DEFINITION.at(subject, clause.at("definition"), reason)


def _defined(clause: ClauseView) -> str:
    return f"- {clause.id} {clause.title}: {clause.definition}"


def _with_criteria(clause: ClauseView) -> str:
    return f"{_defined(clause)} Includes: {'; '.join(clause.includes)}. Excludes: {'; '.join(clause.excludes)}."


GROUP = CheckGroup(rules=(TOO_LONG, LONG_DEFINITION), check=check)
READING = CheckGroup(rules=(HARD_POLICY, HARD_DEFINITION), check=check_reading, english=True)
