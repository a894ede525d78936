"""Shared prefixes as token ids: what comes before the first case text, and where it is cut into passes.

A prefix is computed in pieces that end at its cuts. Cuts depend on the prefix alone, so that a prefix which is scored
on its own is always computed by the same forward passes and its values are the same to the bit, whatever was cached.
Prefixes that are in flight together are also cut where they part, so that what they share is computed once, to the
token.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from promptopt.engines.tokenization import TokenIds

MIN_PIECE_TOKENS = 64
MAX_PIECE_TOKENS = 512


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """A shared prefix; equal to another with the same tokens.

    Attributes:
        tokens: Its token ids.
        cuts: Ends of its pieces, ascending; the last is its length. Empty for an empty prefix.
    """

    tokens: TokenIds
    cuts: tuple[int, ...]
    _hash: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Kept, because every query of a batch is looked up by its prefix, which may have thousands of tokens.
        object.__setattr__(self, "_hash", hash(self.tokens))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Prefix) and self.tokens == other.tokens)

    def __len__(self) -> int:
        return len(self.tokens)


def cut_prefix(stretches: Sequence[TokenIds]) -> Prefix:
    """Joins stretches of token ids and decides where they are cut.

    Pieces end at stretch boundaries, where prompts start to differ, and hold :data:`MIN_PIECE_TOKENS` to
    :data:`MAX_PIECE_TOKENS` tokens (the last may hold fewer): attention within a piece costs memory by the square of
    its length.
    """
    tokens: list[int] = []
    cuts: list[int] = []
    start = 0
    for stretch in stretches:
        tokens.extend(stretch)
        while len(tokens) - start > MAX_PIECE_TOKENS:
            start += MAX_PIECE_TOKENS
            cuts.append(start)
        if len(tokens) - start >= MIN_PIECE_TOKENS:
            start = len(tokens)
            cuts.append(start)
    if len(tokens) > start:
        cuts.append(len(tokens))
    return Prefix(tuple(tokens), tuple(cuts))


def parting_points(prefixes: Iterable[TokenIds]) -> dict[TokenIds, tuple[int, ...]]:
    """Where prefixes that are in flight together part from each other.

    Args:
        prefixes: Any number of token sequences; equal ones count once.

    Returns:
        By token ids the positions, ascending, at which another prefix parts from this one (or ends), in lexicographic
        order of the token ids: prefixes that share a beginning stand side by side.
    """
    ordered = sorted(set(prefixes))
    shared = [_shared(a, b) for a, b in pairwise(ordered)]
    return {
        tokens: tuple(sorted(_running_minima(shared[i:]) | _running_minima(shared[:i][::-1])))
        for i, tokens in enumerate(ordered)
    }


def edge_count(prefixes: Iterable[TokenIds]) -> int:
    """Edges of the trie of some token sequences: the tokens that have to be computed when all sharing is used."""
    total = 0
    before: TokenIds = ()
    for tokens in sorted(set(prefixes)):
        total += len(tokens) - _shared(before, tokens)
        before = tokens
    return total


def _shared(one: TokenIds, other: TokenIds) -> int:
    """How many first tokens two sequences have in common."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _running_minima(lengths: Sequence[int]) -> set[int]:
    """With how much the neighbours on one side share, where a prefix parts from any of them."""
    out: set[int] = set()
    least: int | None = None
    for length in lengths:
        least = length if least is None else min(least, length)
        if not least:
            break
        out.add(least)
    return out
