"""The lowered prompt: the exact chat messages and label set that a candidate stands for.

Programs produce it, engines score it, bundles ship it. Nothing in it is dynamic but its slots, which take the named
parts of a case.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from promptopt.core.digest import digest_data
from promptopt.core.model import FrozenModel, added
from promptopt.core.rationale import RATIONALE_SLOT, RationaleSettings
from promptopt.core.reading import WHOLE, Reading

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


class RationaleRequest(RationaleSettings):
    """What a judge is asked to write before it answers.

    Attributes:
        segments: The messages that ask for it; their slots take parts of the case.
    """

    segments: tuple[PromptSegment, ...] = Field(min_length=1)


def judgements_per_case(prompts: Iterable[LoweredPrompt]) -> int:
    """How many judgements the prompts of one program cost for each case."""
    return sum(prompt.samples for prompt in prompts)


class LoweredPrompt(FrozenModel):
    """One question to a judge, ready to be scored.

    Attributes:
        question: Name of the predictor it was lowered from (``"violation"`` or a clause id).
        segments: The messages, in order.
        labels: The closed answer space, the affirmative label first; two or more.
        rationale: What the judge writes before it answers, for the slot ``rationale``; None where it answers at once.
        reading: What of a case goes into the slot; everything, unless the policy says otherwise.
    """

    question: str
    segments: tuple[PromptSegment, ...] = Field(min_length=1)
    labels: tuple[str, ...] = Field(min_length=2)
    rationale: RationaleRequest | None = added(None)
    reading: Reading = added(WHOLE)

    @field_validator("labels")
    @classmethod
    def _distinct(cls, labels: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(labels)) < len(labels) or any(not label.strip() for label in labels):
            raise ValueError(f"labels must be distinct and not blank: {list(labels)}")
        return labels

    @model_validator(mode="after")
    def _rationale_has_its_place(self) -> Self:
        places = sum(segment.slot == RATIONALE_SLOT for segment in self.segments)
        if places != (self.rationale is not None):
            asked = "is asked for" if self.rationale else "is not asked for"
            raise ValueError(f"a rationale {asked} and has {places} places in the prompt")
        if self.rationale and any(segment.slot == RATIONALE_SLOT for segment in self.rationale.segments):
            raise ValueError("what asks for a rationale cannot quote it")
        return self

    @property
    def samples(self) -> int:
        """How many judgements answer it for one case: one, or one for each rationale."""
        return self.rationale.samples if self.rationale else 1

    @cached_property
    def digest(self) -> str:
        """SHA-256 of segments and labels: the prompt's name in the score store, whatever the question is called.

        What is read of a case is no part of it, as scores are kept under the digest of the text that was read.
        """
        return digest_data(self._content)

    @cached_property
    def judgement_digests(self) -> tuple[str, ...]:
        """The name of each of its :attr:`samples` judgements in the score store.

        That of one rationale's names everything the rationale depends on, and its number but not how many there are:
        three samples are the first three of five.
        """
        if self.rationale is None:
            return (self.digest,)
        content = self._content
        del content["rationale"]["samples"]
        return tuple(digest_data({**content, "sample": sample}) for sample in range(self.samples))

    @property
    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = {
            "segments": [s.model_dump() for s in self.segments],
            "labels": list(self.labels),
        }
        if self.rationale is not None:
            content["rationale"] = self.rationale.model_dump()
        return content

    def messages(self, item: str = "{{text}}") -> list[dict[str, str]]:
        """The chat messages with ``item`` in every slot but that of a rationale, in the form chat APIs take."""
        out: list[dict[str, str]] = []
        for segment in self.segments:
            text = item if segment.slot is not None else segment.text
            if segment.slot == RATIONALE_SLOT:
                text = f"{{{{{RATIONALE_SLOT}}}}}"
            if out and out[-1]["role"] == segment.role:
                out[-1]["content"] += text
            else:
                out.append({"role": segment.role, "content": text})
        return out
