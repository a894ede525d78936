"""A reminder after the policy: the last thing that a judge reads before the first text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from promptopt.core.candidate import Choice
from promptopt.errors import ConfigError
from promptopt.search.dimensions.base import PromptDraft

_REMINDERS = {
    "none": "",
    "exceptions": "Check every exception before you call a text a violation.",
    "context": "Judge what the text does, not which words it uses.",
    "recall": "In doubt, answer that it violates.",
    "precision": "In doubt, answer that it does not violate.",
}


class Reminder:
    """Choices: ``none``, ``exceptions``, ``context``, ``recall``, ``precision``."""

    name = "reminder"

    def applies(self, point: Mapping[str, Choice]) -> bool:
        """Always."""
        return True

    def change(self, draft: PromptDraft, choice: Choice) -> PromptDraft:
        """The policy with the reminder after it."""
        if choice not in _REMINDERS:
            raise ConfigError(
                f"reminder {choice!r} is unknown", where="program.extra", remedy=f"use {', '.join(_REMINDERS)}"
            )
        parts = (draft.policy, _REMINDERS[str(choice)])
        return replace(draft, policy="\n\n".join(part for part in parts if part))


DIMENSION = Reminder()
