"""How a prompt is laid out: the words of the answer, the quoting of the item, and where the question stands."""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import model_validator

from promptopt.core.model import FrozenModel
from promptopt.core.rationale import RationaleSettings
from promptopt.policy.grading import Ladder
from promptopt.policy.verbalizer import panel_of
from promptopt.policy.wording import either

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

_REASONS = "Before you answer, say in one or two short sentences what in the text decides it."


class PromptFormat(FrozenModel):
    """The layout choices of a prompt.

    Attributes:
        yes: Word that answers a question in the affirmative (a violation, a clause that applies).
        no: Word that answers it in the negative.
        quoting: How the item is set apart.
        placement: ``item_first`` puts the question after the item, ``question_first`` before it,
            ``question_twice`` on both sides. Only ``item_first`` lets a checklist share the item's computation.
        ladder: Severities and their words, from 0 upwards, of a program that grades; its answers are these words
            instead of ``yes`` and ``no``. Empty for all other programs.
        panel: Words that are read besides the answers, of a program that is verbalized; empty for all others. The judge
            is not told of them.
        rationale: How the judge writes its reasons before it answers; None where it answers at once.
    """

    yes: str = "yes"
    no: str = "no"
    quoting: Quoting = "quotes"
    placement: Placement = "item_first"
    ladder: Ladder = ()
    panel: tuple[str, ...] = ()
    rationale: RationaleSettings | None = None

    @model_validator(mode="after")
    def _words_differ(self) -> Self:
        if not self.yes.strip() or not self.no.strip() or self.yes == self.no:
            raise ValueError(f"the answer words must differ and not be blank, found {self.yes!r} and {self.no!r}")
        words = [word for _, word in self.ladder]
        if self.ladder and (len(set(words)) < max(2, len(words)) or not all(word.strip() for word in words)):
            raise ValueError(f"the words of the severities must differ and not be blank, found {words}")
        if self.panel and (self.ladder or not all(word.strip() for word in self.panel)):
            raise ValueError(f"a panel goes with two answers and has no blank word, found {list(self.panel)}")
        return self

    @property
    def labels(self) -> tuple[str, ...]:
        """The closed answers, the one that affirms most first."""
        if self.ladder:
            return tuple(word for _, word in reversed(self.ladder))
        return panel_of(self.yes, self.no, self.panel)

    def asked(self, question: str) -> str:
        """The question with the answers to choose from."""
        graded = "\nAnswer " + either([word for _, word in self.ladder]) + "." if self.ladder else ""
        return question + (graded or f" Answer {self.yes} or {self.no}.")

    def around_item(self, question: str) -> tuple[str, str]:
        """The user turn's text before the item, which is never empty, and after it, where it asks for an answer."""
        return self._around_item(self.asked(question))

    def around_item_for_reasons(self, question: str) -> tuple[str, str]:
        """The same where it asks for the reasons of an answer."""
        return self._around_item(f"{question} {_REASONS}")

    def _around_item(self, asked: str) -> tuple[str, str]:
        opening, closing = _QUOTES[self.quoting]
        before = "" if self.placement == "item_first" else f"{asked}\n\n"
        after = "" if self.placement == "question_first" else f"\n\n{asked}"
        return before + opening, closing + after

    def word(self, answer: bool, severity: int | None = None) -> str:
        """The label word for an answer.

        Args:
            answer: Whether the question is affirmed.
            severity: Of a violation, where it is known. A severity without a word of its own takes that of the nearest
                rung, an unknown one that of the middle rung.
        """
        if not self.ladder:
            return self.yes if answer else self.no
        if not answer:
            return self.ladder[0][1]
        violating = self.ladder[1:]
        if severity is None:
            return violating[len(violating) // 2][1]
        return min(violating, key=lambda rung: (abs(rung[0] - severity), -rung[0]))[1]
