"""The contract of a dimension that is one file.

:class:`~promptopt.search.candidates.CandidateMaker` makes a draft of the prompt from the built-in dimensions and hands
it to every further dimension of the space, in the order of the configuration. A dimension depends on the draft and its
choice alone, so that equal points come to equal prompts; its choice ``none`` leaves the draft as it is. Choices that
make the same of a draft are one candidate. (Where two dimensions happen to write the same words, two candidates remain;
the score store still judges their prompt once.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from promptopt.core.candidate import Choice
from promptopt.programs.prompt_format import PromptFormat


@dataclass(frozen=True, slots=True)
class PromptDraft:
    """A prompt in the making.

    Attributes:
        instruction: Opens the system turn.
        policy: The rendered policy, which follows it; may be empty.
        language: The policy's language.
        layout: Label words, quoting and placement.
    """

    instruction: str
    policy: str
    language: str
    layout: PromptFormat


class Dimension(Protocol):
    """Something about a prompt that may be varied."""

    name: str

    def applies(self, point: Mapping[str, Choice]) -> bool:
        """Whether it matters at a point; where it does not, all its choices are one candidate.

        Only choices in dimensions before this one may be looked at: the built-in ones and those named before it.
        """
        ...

    def change(self, draft: PromptDraft, choice: Choice) -> PromptDraft:
        """The draft with the choice made.

        Raises:
            ConfigError: It has no such choice. A space tries all that it names when it is read.
        """
        ...
