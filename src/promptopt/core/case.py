"""A case: the thing that is judged, and what a golden set says of it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any

from pydantic import Field, field_validator, model_validator

from promptopt.core.content import ImagePart, PartedText, PartName, in_order
from promptopt.core.digest import digest_text
from promptopt.core.model import FrozenModel, added


class Label(StrEnum):
    """The two outcomes a verdict can have; *no verdict* is the absence of a label, never one of them."""

    VIOLATION = "violation"
    ALLOWED = "allowed"


class Split(StrEnum):
    """The three disjoint parts of a golden set.

    ``search`` is what sweeps see, ``calibration`` fits thresholds and calibrators, ``test`` is sealed: each opening
    of it is recorded.
    """

    SEARCH = "search"
    CALIBRATION = "calibration"
    TEST = "test"


class CaseKind(StrEnum):
    """What role a golden case plays in the set."""

    PLAIN = "plain"
    HARD_NEGATIVE = "hard_negative"
    CONTRAST = "contrast"
    HARMLESS = "harmless"


class Case(FrozenModel):
    """A text to judge, or content with named parts.

    Attributes:
        id: Unique within its set; logs, errors and runs carry this and never the text.
        text: What is judged; not empty after stripping white space. Of a case with parts it is their rendering.
        language: ISO 639-1 code.
        parts: Part name to text or image; None for a case that is one text. A case is given ``text`` or ``parts``.
    """

    id: str = Field(min_length=1)
    text: str
    language: str = "en"
    parts: dict[PartName, str | ImagePart] | None = added(None)

    @model_validator(mode="before")
    @classmethod
    def _rendered(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("parts") is None:
            return data
        if not isinstance(data["parts"], Mapping):
            raise ValueError(f"`parts` holds {type(data['parts']).__name__}, not an object of part names and texts")
        item = PartedText(data["parts"])
        if data.get("text", item) != item:
            raise ValueError("the case has `text` and `parts`; give one of the two")
        return {**data, "text": str(item), "parts": item.parts}

    @field_validator("text")
    @classmethod
    def _not_blank(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("text is empty")
        return text

    @cached_property
    def item(self) -> str:
        """What questions are asked about: the text, which knows its parts where there are some."""
        return self.text if self.parts is None else PartedText(self.parts)

    @property
    def words(self) -> str:
        """The text without labels and indentation, for comparing cases with each other."""
        if self.parts is None:
            return self.text
        values = (self.parts[name] for name in in_order(self.parts))
        return "\n".join(value.reference if isinstance(value, ImagePart) else value for value in values)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the text alone: two cases with one text share their scores."""
        return digest_text(self.text)


class GoldenCase(Case):
    """A case with its gold label and the reason for it.

    Attributes:
        label: The gold label.
        clause: The clause the label cites; a violation cites a violating clause (None where the source names none),
            an allowed case the clause that permits it, or None.
        severity: 0 for allowed, else 1 (low) to 4 (critical).
        group: Template or scenario; a group is never divided between splits.
        kind: The role it plays in the set.
        pair: Names the two halves of a minimal contrast pair.
        split: The part of the golden set it belongs to; None before splits are made.
    """

    label: Label
    clause: str | None = None
    severity: int = Field(default=0, ge=0, le=4)
    group: str
    kind: CaseKind = CaseKind.PLAIN
    pair: str | None = None
    split: Split | None = None

    @property
    def is_violation(self) -> bool:
        return self.label is Label.VIOLATION
