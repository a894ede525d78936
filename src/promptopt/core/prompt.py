"""The lowered prompt: the exact chat messages and label set that a candidate stands for.

Programs produce it, engines score it, bundles ship it. Nothing in it is dynamic but its slots, which take the named
parts of a case.
"""

from __future__ import annotations

from functools import cached_property
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from promptopt.core.digest import digest_data
from promptopt.core.model import FrozenModel

Role = Literal["system", "user", "assistant"]
ITEM_SLOT = "text"


class PromptSegment(FrozenModel):
    """A stretch of one chat message: fixed text, or a slot that takes a part of the case.

    Consecutive segments with one role form one message; their texts are joined without a separator.

    Attributes:
        role: Whose turn the stretch belongs to.
        text: The fixed text; empty for a slot.
        slot: Name of the case part that goes here, or None for fixed text.
    """

    role: Role
    text: str = ""
    slot: str | None = None

    @model_validator(mode="after")
    def _text_or_slot(self) -> Self:
        if self.slot is not None and self.text:
            raise ValueError(f"the segment of slot {self.slot!r} has a fixed text too, which nobody would see")
        return self


class LoweredPrompt(FrozenModel):
    """One question to a judge, ready to be scored.

    Attributes:
        question: Name of the predictor it was lowered from (``"violation"`` or a clause id).
        segments: The messages, in order.
        labels: The closed answer space, the affirmative label first; two or more.
    """

    question: str
    segments: tuple[PromptSegment, ...] = Field(min_length=1)
    labels: tuple[str, ...] = Field(min_length=2)

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) < len(labels) or any(not label.strip() for label in labels):
            raise ValueError(f"labels must be distinct and not blank: {list(labels)}")
        return labels

    @cached_property
    def digest(self) -> str:
        """SHA-256 of segments and labels: the prompt's name in the score store, whatever the question is called."""
        return digest_data({"segments": [s.model_dump() for s in self.segments], "labels": list(self.labels)})

    def messages(self, item: str = "{{text}}") -> list[dict[str, str]]:
        """The chat messages with ``item`` in every slot, in the form chat APIs take."""
        out: list[dict[str, str]] = []
        for segment in self.segments:
            text = item if segment.slot is not None else segment.text
            if out and out[-1]["role"] == segment.role:
                out[-1]["content"] += text
            else:
                out.append({"role": segment.role, "content": text})
        return out
