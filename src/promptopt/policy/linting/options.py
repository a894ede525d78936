"""What a lint may be told."""

from __future__ import annotations

from promptopt.core.model import FrozenModel
from promptopt.policy.model import Policy


class LintOptions(FrozenModel):
    """Limits and references of a lint.

    Attributes:
        budget: Tokens that the definitions may take of a judge's prompt; with includes and excludes half as many again.
            A checklist reads them once, every other program with each question.
        max_grade: Highest school grade by Flesch and Kincaid for the policy as a whole, 12 being the last year of
            secondary school; one definition, which is a sample of a few words, may be six grades above it.
        max_definition_words: Longest definition of a clause.
        previous: The version that people know, to compare ids with; None compares with nothing.
        ignore: Codes of rules that are left out.
    """

    budget: int = 600
    max_grade: float = 12.0
    max_definition_words: int = 40
    previous: Policy | None = None
    ignore: frozenset[str] = frozenset()
