"""Golden cases that a bundle's search has seen."""

from __future__ import annotations

from collections.abc import Sequence

from promptopt.bundle.model import PromptBundle
from promptopt.core.case import GoldenCase

_SHORTEST_QUOTE = 20  # characters; shorter texts may stand in a prompt by chance


def known_to(bundle: PromptBundle, cases: Sequence[GoldenCase]) -> list[str]:
    """Ids of cases that the bundle pins, which come from its search split, or that its prompts quote."""
    pinned = {case.text for case in bundle.parity}
    fixed = [segment.text for prompt in bundle.prompts for segment in prompt.segments if segment.slot is None]
    return [
        case.id
        for case in cases
        if case.text in pinned or (len(case.text) >= _SHORTEST_QUOTE and any(case.text in text for text in fixed))
    ]
