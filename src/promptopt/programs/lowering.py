"""Lowering: instructions, demonstrations and a question become the exact messages and labels that are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from promptopt.core.model import FrozenModel
from promptopt.core.prompt import ITEM_SLOT, LoweredPrompt, PromptSegment, RationaleRequest
from promptopt.core.rationale import RATIONALE_SLOT
from promptopt.errors import UserError
from promptopt.policy.grading import MAX_SEVERITY, Ladder
from promptopt.programs.prompt_format import PromptFormat

_WORDS = {"yes": True, "true": True, "no": False, "false": False}


class Demonstration(FrozenModel):
    """A worked example: a text, the question asked about it, and the right answer.

    Attributes:
        text: The text.
        question: What is asked about it.
        answer: Whether the question is affirmed; of a graded question, whether the text violates.
        severity: Of a violation, 1 to 4; None where it is unknown or nothing is graded.
    """

    text: str
    question: str
    answer: bool
    severity: int | None = Field(default=None, ge=1, le=MAX_SEVERITY)

    @property
    def recorded(self) -> bool | int:
        """The answer as a DSPy example holds it."""
        return self.answer if self.severity is None else self.severity

    @classmethod
    def of(cls, example: Mapping[str, Any], question: str, ladder: Ladder = ()) -> Demonstration:
        """Reads a demonstration as DSPy keeps it.

        Args:
            example: ``text``, ``answer`` (a boolean, ``"yes"`` or ``"no"``, a severity, or a decision that DSPy
                recorded) and perhaps ``question``.
            question: What the predictor asks; stands in where the example names no question.
            ladder: The severities that a program grades by; empty for one that does not.

        Raises:
            UserError: The example has no text, or no answer that reads as yes or no or as a severity.
        """
        text, answer = example.get("text"), example.get("answer")
        value = _recorded(answer, "value", answer)
        if isinstance(value, str):
            value = _WORDS.get(value.strip().lower())
        if ladder and isinstance(level := _recorded(answer, "level", None), int):
            value = ladder[level][0]
        severity = value if ladder and type(value) is int and 0 <= value <= MAX_SEVERITY else None
        if severity is not None:
            value = severity > 0
        if not isinstance(text, str) or not isinstance(value, bool):
            kind = f"an answer of type {type(answer).__name__}" if isinstance(text, str) else "no text"
            raise UserError(
                f"a demonstration has {kind}", remedy="give it `text` and a boolean `answer`, and perhaps `question`"
            )
        return cls(text=text, question=example.get("question") or question, answer=value, severity=severity or None)


def lower(
    name: str, instructions: str, question: str, demos: Sequence[Demonstration], layout: PromptFormat
) -> LoweredPrompt:
    """Lowers one question.

    Args:
        name: Name of the predictor.
        instructions: The system turn; left out when blank.
        question: What is asked about the item.
        demos: Shown as earlier turns of the conversation, in this order.
        layout: Label words, quoting, placement, and whether reasons come first.

    Returns:
        The prompt. Everything before the item is fixed text, so judges compute it once for all cases. Where the layout
        has rationales, the judge is first asked for its reasons, without the demonstrations, which answer by a word and
        would have it do so, too; then its reasons stand as its own turn before the question.
    """
    opening: list[PromptSegment] = []
    if instructions.strip():
        opening.append(PromptSegment(role="system", text=instructions.strip()))
    segments = list(opening)
    for demo in demos:
        before, after = layout.around_item(demo.question)
        segments.append(PromptSegment(role="user", text=before + demo.text.strip() + after))
        segments.append(PromptSegment(role="assistant", text=layout.word(demo.answer, demo.severity)))
    if layout.rationale is None:
        segments += _item_turn(*layout.around_item(question))
        return LoweredPrompt(question=name, segments=tuple(segments), labels=layout.labels)
    reasons = _item_turn(*layout.around_item_for_reasons(question))
    segments += [
        *reasons,
        PromptSegment(role="assistant", slot=RATIONALE_SLOT),
        PromptSegment(role="user", text=layout.asked(question)),
    ]
    request = RationaleRequest(segments=(*opening, *reasons), **layout.rationale.model_dump())
    return LoweredPrompt(question=name, segments=tuple(segments), labels=layout.labels, rationale=request)


def _item_turn(before: str, after: str) -> list[PromptSegment]:
    turn = [PromptSegment(role="user", text=before), PromptSegment(role="user", slot=ITEM_SLOT)]
    return [*turn, PromptSegment(role="user", text=after)] if after else turn


def _recorded(answer: Any, name: str, otherwise: Any) -> Any:
    """A part of a decision, whether it is an object or was written as data."""
    return answer.get(name, otherwise) if isinstance(answer, Mapping) else getattr(answer, name, otherwise)
