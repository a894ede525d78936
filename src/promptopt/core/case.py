"""A case: the thing that is judged, and what a golden set says of it."""

from __future__ import annotations

from enum import StrEnum
from functools import cached_property

from pydantic import Field, field_validator

from promptopt.core.digest import digest_text
from promptopt.core.model import FrozenModel


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
    """A text to judge.

    Attributes:
        id: Unique within its set; logs, errors and runs carry this and never the text.
        text: What is judged; not empty after stripping white space.
        language: ISO 639-1 code.
    """

    id: str = Field(min_length=1)
    text: str
    language: str = "en"

    @field_validator("text")
    @classmethod
    def _not_blank(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("text is empty")
        return text

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
