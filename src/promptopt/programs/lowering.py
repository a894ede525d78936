"""Lowering: instructions, demonstrations and a question become the exact messages and labels that are scored."""

from __future__ import annotations

from collections.abc import Sequence

from promptopt.core.model import FrozenModel
from promptopt.core.prompt import ITEM_SLOT, LoweredPrompt, PromptSegment
from promptopt.programs.prompt_format import PromptFormat


class Demonstration(FrozenModel):
    """A worked example: a text, the question asked about it, and the right answer."""

    text: str
    question: str
    answer: bool


def lower(
    name: str, instructions: str, question: str, demos: Sequence[Demonstration], layout: PromptFormat
) -> LoweredPrompt:
    """Lowers one question.

    Args:
        name: Name of the predictor.
        instructions: The system turn; left out when blank.
        question: What is asked about the item.
        demos: Shown as earlier turns of the conversation, in this order.
        layout: Label words, quoting and placement.

    Returns:
        The prompt. Everything before the item is fixed text, so judges compute it once for all cases.
    """
    segments: list[PromptSegment] = []
    if instructions.strip():
        segments.append(PromptSegment(role="system", text=instructions.strip()))
    for demo in demos:
        before, after = layout.around_item(demo.question)
        segments.append(PromptSegment(role="user", text=before + demo.text.strip() + after))
        segments.append(PromptSegment(role="assistant", text=layout.word(demo.answer)))
    before, after = layout.around_item(question)
    if before:
        segments.append(PromptSegment(role="user", text=before))
    segments.append(PromptSegment(role="user", slot=ITEM_SLOT))
    if after:
        segments.append(PromptSegment(role="user", text=after))
    return LoweredPrompt(question=name, segments=tuple(segments), labels=(layout.yes, layout.no))
