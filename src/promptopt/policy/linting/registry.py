"""Every check and every rule."""

from __future__ import annotations

from promptopt.policy.linting.checks import (
    clauses,
    examples,
    length,
    overlap,
    questions,
    references,
    routing,
    shape,
    upkeep,
    wording,
)
from promptopt.policy.linting.finding import CheckGroup, Level, LintRule

UNREADABLE = LintRule(
    code="PL000",
    name="unreadable file",
    level=Level.ERROR,
    finds="the file is not UTF-8, not YAML, too large, or not a mapping of keys, so that nothing else can be checked",
    remedy="correct this fault; the others are looked for afterwards",
)
ENGLISH_ONLY = LintRule(
    code="PL390",
    name="words not checked",
    level=Level.NOTE,
    finds="the policy is not in English, so that checks of wording, questions and reading level were left out",
    remedy="have a reader of the language look for vague words",
)
CHECKS: tuple[CheckGroup, ...] = (
    shape.GROUP,
    references.GROUP,
    routing.GROUP,
    clauses.GROUP,
    overlap.GROUP,
    wording.GROUP,
    wording.MARKS,
    questions.GROUP,
    length.GROUP,
    length.READING,
    examples.GROUP,
    upkeep.GROUP,
    upkeep.USE,
    upkeep.PREVIOUS,
)
RULES: tuple[LintRule, ...] = tuple(
    sorted((UNREADABLE, ENGLISH_ONLY, *(rule for group in CHECKS for rule in group.rules)), key=lambda rule: rule.code)
)


def rules_table() -> str:
    """The rules as a Markdown table, ending with a newline."""
    rows = [f"| {r.code} | {r.level} | {r.name} | {r.finds} | {r.remedy} |" for r in RULES]
    return "\n".join(("| code | level | name | finds | remedy |", "|---|---|---|---|---|", *rows)) + "\n"
