"""A role: who the judge is told to be, in a sentence before the instruction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from promptopt.core.candidate import Choice
from promptopt.errors import ConfigError
from promptopt.search.dimensions.base import PromptDraft

_ROLES = {
    "none": "",
    "moderator": "You moderate what people post on a platform.",
    "auditor": "You audit the decisions of content moderators.",
    "lawyer": "You read a policy as a lawyer reads a contract.",
    "classifier": "You are a text classifier.",
}


class Role:
    """Choices: ``none``, ``moderator``, ``auditor``, ``lawyer``, ``classifier``."""

    name = "role"

    def applies(self, point: Mapping[str, Choice]) -> bool:
        """Always."""
        return True

    def change(self, draft: PromptDraft, choice: Choice) -> PromptDraft:
        """The instruction with the role before it."""
        if choice not in _ROLES:
            raise ConfigError(f"role {choice!r} is unknown", where="program.extra", remedy=f"use {', '.join(_ROLES)}")
        return replace(draft, instruction=f"{_ROLES[str(choice)]} {draft.instruction}".strip())


DIMENSION = Role()
