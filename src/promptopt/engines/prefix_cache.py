"""Keys and values of prefixes, kept as a tree so that prefixes which begin alike keep their beginning once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch

from promptopt.engines.plans import LayerKV
from promptopt.engines.prefixes import Prefix
from promptopt.engines.tokenization import TokenIds


@dataclass(eq=False, slots=True)
class PrefixPiece:
    """A stretch of tokens after its parent's.

    Attributes:
        tokens: Its token ids.
        start: Its position in the sequence.
        parent: The piece before it, or None at the beginning.
        layers: Its own keys and values per layer, each (kv heads, tokens, head size); empty until computed.
        last: Hidden state after its last token, (hidden size,); None until computed.
        children: The pieces that follow it, by their tokens.
    """

    tokens: TokenIds
    start: int
    parent: PrefixPiece | None
    layers: list[LayerKV] = field(default_factory=list)
    last: torch.Tensor | None = None
    children: dict[TokenIds, PrefixPiece] = field(default_factory=dict)

    @property
    def end(self) -> int:
        return self.start + len(self.tokens)

    @property
    def size_bytes(self) -> int:
        return sum(t.numel() * t.element_size() for pair in self.layers for t in pair)

    def path(self) -> list[PrefixPiece]:
        """The pieces from the beginning to this one."""
        out = [self]
        while (parent := out[-1].parent) is not None:
            out.append(parent)
        return out[::-1]


class PrefixCache:
    """Resident prefixes, the least recently used dropped when the budget is full.

    Args:
        budget_bytes: Memory that keys and values may occupy; prefixes in use are kept even beyond it.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._roots: dict[TokenIds, PrefixPiece] = {}
        self._computed: OrderedDict[int, PrefixPiece] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Memory that computed pieces occupy."""
        return self._bytes

    def pieces(self, prefix: Prefix, parts: Iterable[int]) -> list[PrefixPiece]:
        """The pieces of a prefix, new ones where none are resident.

        Args:
            prefix: The prefix.
            parts: Positions that a piece must not straddle, since another prefix in flight parts there.

        Returns:
            Pieces that make up the prefix; those without ``layers`` have yet to be computed.
        """
        ends = sorted({*prefix.cuts, *parts})
        out: list[PrefixPiece] = []
        at = 0
        while at < len(prefix):
            children = out[-1].children if out else self._roots
            limit = next((p for p in sorted(parts) if p > at), len(prefix))
            piece = _longest(children, prefix.tokens, at, limit)
            if piece is None:
                tokens = prefix.tokens[at : next(e for e in ends if e > at)]
                piece = children[tokens] = PrefixPiece(tokens, at, out[-1] if out else None)
            elif id(piece) in self._computed:
                self._computed.move_to_end(id(piece))
            out.append(piece)
            at = piece.end
        return out

    def put(self, piece: PrefixPiece, layers: list[LayerKV], last: torch.Tensor) -> None:
        """Keeps what was computed for a piece."""
        piece.layers, piece.last = layers, last
        self._computed[id(piece)] = piece
        self._bytes += piece.size_bytes

    def shrink(self, in_use: Sequence[PrefixPiece] = (), budget_bytes: int | None = None) -> None:
        """Drops the least recently used pieces, ends before beginnings, until the budget is kept.

        Args:
            in_use: Pieces to keep, with all that comes before them.
            budget_bytes: Another budget for this once.
        """
        budget = self._budget if budget_bytes is None else budget_bytes
        kept = {id(p) for piece in in_use for p in piece.path()}
        while self._bytes > budget:
            ends = [p for key, p in self._computed.items() if key not in kept and not any(_computed(p))]
            if not ends:
                return
            for piece in ends:
                self._drop(piece)
                if self._bytes <= budget:
                    return

    def _drop(self, piece: PrefixPiece) -> None:
        self._bytes -= piece.size_bytes
        del self._computed[id(piece)]
        siblings = piece.parent.children if piece.parent is not None else self._roots
        siblings.pop(piece.tokens, None)


def _computed(piece: PrefixPiece) -> Iterable[bool]:
    return (bool(child.layers) for child in piece.children.values())


def _longest(children: dict[TokenIds, PrefixPiece], tokens: TokenIds, start: int, limit: int) -> PrefixPiece | None:
    """The longest child that the tokens from ``start`` begin with and that ends at ``limit`` or before."""
    fitting = [
        piece for own, piece in children.items()
        if start + len(own) <= limit and tokens[start : start + len(own)] == own
    ]  # fmt: skip
    return max(fitting, key=lambda piece: len(piece.tokens), default=None)
