"""What one question reads of a case: which parts, and how much of each."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import Field, field_validator

from promptopt.core.content import PLAIN, ImagePart, PartedText, PartLimit, PartName, render_parts
from promptopt.core.model import FrozenModel


@dataclass(frozen=True, slots=True)
class Item:
    """What stands in a prompt for the case.

    Attributes:
        text: The text; empty where the case has nothing that the question reads, or where it cannot be read.
        shortened: Names of the parts that were shortened.
        fault: Why the question cannot be asked about the case; None where it can.
    """

    text: str
    shortened: tuple[str, ...] = ()
    fault: str | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether the case has no part that the question reads: what is not there cannot fall under a clause."""
        return not self.text and self.fault is None


class Reading(FrozenModel):
    """Which parts of a case a question reads.

    Attributes:
        parts: Their names; empty for all parts. A case that is one text is read whole by every question.
        limits: Part name to how much of it is read; of the others, everything.
    """

    parts: tuple[PartName, ...] = ()
    limits: dict[PartName, PartLimit] = Field(default_factory=dict)

    @field_validator("limits")
    @classmethod
    def _by_name(cls, limits: dict[str, PartLimit]) -> dict[str, PartLimit]:
        """One order, so that files written from the same rules are the same byte for byte."""
        return dict(sorted(limits.items()))

    @property
    def is_everything(self) -> bool:
        """Whether every case is read whole."""
        return not self.parts and not self.limits

    def of(self, item: str) -> Item:
        """What the question reads of a case.

        Args:
            item: A text, or a :class:`PartedText`.

        Returns:
            The text for the prompt. An image among the parts that the question reads is a fault: a judge of texts
            would otherwise pass a verdict on what it has not seen.
        """
        if not isinstance(item, PartedText) or list(item.parts) == [PLAIN]:
            return Item(str(item))
        read, shortened = {}, []
        for name, value in item.parts.items():
            if self.parts and name not in self.parts:
                continue
            if isinstance(value, ImagePart):
                return Item("", fault=f"part `{name}` is an image ({value.media_type}), and the judge reads text only")
            limit = self.limits.get(name)
            read[name] = value.strip() if limit is None else limit.shorten(value.strip())
            if limit is not None and len(value.strip()) > limit.max_chars:
                shortened.append(name)
        return Item(render_parts(read), tuple(shortened))


WHOLE = Reading()
