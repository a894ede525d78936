"""What a check finds, and the rules it finds it by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import TYPE_CHECKING

from promptopt.core.model import FrozenModel
from promptopt.core.yaml_file import Place

if TYPE_CHECKING:
    from promptopt.policy.linting.options import LintOptions
    from promptopt.policy.linting.subject import Subject


class Level(StrEnum):
    """How much a finding weighs.

    An error is refused by the reader, contradicts another part, or is not finished; a warning misleads people or
    judges; a note says what was not checked.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"

    def reaches(self, lowest: Level) -> bool:
        """Whether it weighs as much as another level, or more."""
        order = list(Level)
        return order.index(self) <= order.index(lowest)


class Finding(FrozenModel):
    """One fault of a policy file.

    Attributes:
        code: The rule that found it, such as ``PL108``.
        level: How much it weighs.
        line: Line of the file, counted from 1.
        clause: Id of the clause that it is about, or that the faulty example or template cites; None where it is about
            no single clause.
        place: What it is about: a key, a clause with its key (``A1 definition``), a rule, an example.
        reason: What is wrong, as one clause of a sentence, with the value found.
        remedy: What to do about it.
    """

    code: str
    level: Level
    line: int
    clause: str | None
    place: str
    reason: str
    remedy: str


class LintRule(FrozenModel):
    """One kind of fault.

    Attributes:
        code: ``PL`` and three digits: 0 shape, 1 references and routing, 2 clauses, 3 wording, 4 examples, 5 upkeep.
        name: Its name in a few words.
        level: What its findings weigh.
        finds: What is found, for the table of rules.
        remedy: What to do, where a finding does not know better.
    """

    code: str
    name: str
    level: Level
    finds: str
    remedy: str

    def at(self, subject: Subject, place: Place, reason: str, remedy: str | None = None) -> Finding:
        """A finding by this rule.

        Args:
            subject: What is linted.
            place: Keys and positions that lead to the fault.
            reason: What is wrong.
            remedy: What to do; the rule's own remedy by default.
        """
        return self.on_line(
            subject.file.line(place), subject.name_of(place), reason, remedy, clause=subject.clause_of(place)
        )

    def on_line(
        self, line: int, place: str, reason: str, remedy: str | None = None, *, clause: str | None = None
    ) -> Finding:
        """A finding by this rule on a line that is no key's."""
        return Finding(
            code=self.code,
            level=self.level,
            line=line,
            clause=clause,
            place=place,
            reason=reason,
            remedy=remedy or self.remedy,
        )


Check = Callable[["Subject", "LintOptions"], Iterator[Finding]]


class CheckGroup(FrozenModel):
    """A check with the rules that it finds faults by.

    Attributes:
        rules: The rules.
        check: Yields findings by these rules.
        english: Whether the check knows English words only.
    """

    rules: tuple[LintRule, ...]
    check: Check
    english: bool = False
