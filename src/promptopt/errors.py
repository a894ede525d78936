"""The exception tree.

Every error that a user can cause derives from :class:`UserError`; the command line prints its one sentence and exits
with code 2. Anything else that escapes is a bug and keeps its traceback. Standard library only: the engines import
this module on machines that hold nothing but numpy, torch and transformers.
"""

from __future__ import annotations

from pathlib import Path


class PromptoptError(Exception):
    """Base of every exception this package raises on purpose."""


class UserError(PromptoptError):
    """A mistake in an input: one sentence that says what, where, the value found and the way out.

    Args:
        what: What is wrong, with the value found.
        where: File, file and line (``"cases.jsonl:12"``) or configuration key.
        remedy: What to do about it.
    """

    def __init__(self, what: str, *, where: str | Path | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = None if where is None else str(where)
        self.remedy = remedy
        place = f"{self.where}: " if self.where else ""
        way_out = f"; {remedy}" if remedy else ""
        super().__init__(f"{place}{what}{way_out}.")

    def __reduce__(self) -> tuple[object, ...]:
        """Pickled by its parts, so that it arrives whole from another process."""
        return _rebuild, (type(self), self.what, self.where, self.remedy)


def _rebuild(kind: type[UserError], what: str, where: str | None, remedy: str | None) -> UserError:
    return kind(what, where=where, remedy=remedy)


class ConfigError(UserError):
    """A configuration key or value that does not exist or does not fit."""


class PolicyError(UserError):
    """A policy file that cannot be read or contradicts itself."""


class GoldenSetError(UserError):
    """A golden set that cannot be read, or that breaks a rule a golden set must keep."""


class EngineError(UserError):
    """A judge that cannot be loaded or asked, for the whole batch's sake."""


class LabelSetError(EngineError):
    """A label set that the judge's tokenizer cannot tell apart."""


class BundleError(UserError):
    """A bundle that is missing, altered or made for another judge."""


class StudyMismatchError(UserError):
    """A sweep resumed with another space, golden set or judge than it was started with."""
