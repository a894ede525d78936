"""How a prompt is laid out: the words of the answer, the quoting of the item, and where the question stands."""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import model_validator

from promptopt.core.model import FrozenModel

Quoting = Literal["plain", "quotes", "fence", "tags"]
Placement = Literal["item_first", "question_first", "question_twice"]
QUOTINGS: tuple[Quoting, ...] = get_args(Quoting)
PLACEMENTS: tuple[Placement, ...] = get_args(Placement)

_QUOTES: dict[Quoting, tuple[str, str]] = {
    "plain": ("Text: ", ""),
    "quotes": ('Text: "', '"'),
    "fence": ('Text:\n"""\n', '\n"""'),
    "tags": ("<text>\n", "\n</text>"),
}


class PromptFormat(FrozenModel):
    """The layout choices of a prompt.

    Attributes:
        yes: Word that answers a question in the affirmative (a violation, a clause that applies).
        no: Word that answers it in the negative.
        quoting: How the item is set apart.
        placement: ``item_first`` puts the question after the item, ``question_first`` before it,
            ``question_twice`` on both sides. Only ``item_first`` lets a checklist share the item's computation.
    """

    yes: str = "yes"
    no: str = "no"
    quoting: Quoting = "quotes"
    placement: Placement = "item_first"

    @model_validator(mode="after")
    def _words_differ(self) -> Self:
        if not self.yes.strip() or not self.no.strip() or self.yes == self.no:
            raise ValueError(f"the answer words must differ and not be blank, found {self.yes!r} and {self.no!r}")
        return self

    def around_item(self, question: str) -> tuple[str, str]:
        """The user turn's text before the item, which is never empty, and after it."""
        opening, closing = _QUOTES[self.quoting]
        asked = f"{question} Answer {self.yes} or {self.no}."
        before = "" if self.placement == "item_first" else f"{asked}\n\n"
        after = "" if self.placement == "question_first" else f"\n\n{asked}"
        return before + opening, closing + after

    def word(self, answer: bool) -> str:
        """The label word for an answer."""
        return self.yes if answer else self.no
