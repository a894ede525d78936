"""The rule for case texts that are too long: the middle is dropped, and how much is reported."""

from __future__ import annotations

import math
from collections.abc import Sequence

from promptopt.engines.tokenization import Stretch, TokenIds

KEEP_HEAD = 0.75


def fit(
    stretches: Sequence[Stretch], *, context: int, reserve: int, max_item_tokens: int, too_long: str
) -> tuple[list[Stretch], int] | str:
    """Shortens case text to the limits.

    Args:
        stretches: The query's tokens.
        context: Tokens that the model can attend to.
        reserve: Tokens of the answer.
        max_item_tokens: Case tokens allowed; 0 for as many as the context holds.
        too_long: ``truncate`` or ``unjudged``.

    Returns:
        The stretches and the number of case tokens left out, or the reason why the query cannot be judged.
    """
    case = sum(len(s.ids) for s in stretches if s.from_case)
    fixed = sum(len(s.ids) for s in stretches) - case + reserve
    pieces = sum(bool(s.ids) for s in stretches if s.from_case)
    room = context - fixed
    if room < 1:
        return f"the prompt without the case takes {fixed} of the model's {context} tokens"
    limit = min(room, max_item_tokens or room)
    if case <= limit:
        return list(stretches), 0
    if too_long == "unjudged" or limit < pieces:
        return f"the text has {case} tokens, more than {limit}"
    out = []
    for s in stretches:
        # Rounding down leaves the sum below the limit, and every piece that has text keeps one token at least.
        own = 1 + (limit - pieces) * len(s.ids) // case if s.from_case else len(s.ids)
        out.append(Stretch(middle_out(s.ids, own), s.from_case))
    return out, case - sum(len(s.ids) for s in out if s.from_case)


def middle_out(ids: TokenIds, keep: int) -> TokenIds:
    """The first three quarters and the last quarter of an allowance of ``keep`` tokens."""
    if len(ids) <= keep:
        return ids
    head = math.ceil(keep * KEEP_HEAD)
    tail = keep - head
    return ids[:head] + (ids[-tail:] if tail else ())
