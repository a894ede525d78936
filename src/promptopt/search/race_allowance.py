"""What a race may spend on the next block, so that its budget lasts to the last case.

A race has a fixed number of judgements. The finalists' remaining cases are set aside first; what is left is spread over
the blocks such that the field shrinks by the same factor from each to the next.
"""

from __future__ import annotations

from collections.abc import Sequence

_BISECTIONS = 40


def dearest(costs: Sequence[int], finalists: int) -> int:
    """Judgements per case of the finalists, whoever they will be.

    Args:
        costs: Judgements that each candidate needs per case.
        finalists: So many of them stay to the last case.
    """
    return sum(sorted(costs)[-finalists:])


def first_block_carried(costs: Sequence[int], finalists: int, allowance: int, cases: int) -> int | None:
    """Most cases of a first block after which the finalists can still be judged on all others.

    Args:
        costs: Judgements that each candidate needs per case.
        finalists: So many of them stay to the last case.
        allowance: Judgements of the race.
        cases: Cases of the race.

    Returns:
        Cases, below 0 where the allowance does not even carry the finalists; None where everybody is a finalist.
    """
    everybody, final = sum(costs), dearest(costs, finalists)
    return None if everybody == final else (allowance - final * cases) // (everybody - final)


def affordable(costs: Sequence[int], finalists: int, left: int, blocks: Sequence[int]) -> float:
    """Judgements per case that the next block may cost.

    Args:
        costs: Judgements per case of each candidate still in the race.
        finalists: So many of them stay to the last case.
        left: Judgements left.
        blocks: Cases of each block that is left, the next one first.

    Returns:
        The costs of the whole field where that can be carried to the end, otherwise less, but never less than the
        finalists cost.
    """
    everybody, least = sum(costs), dearest(costs, finalists)

    def price(shrink: float) -> float:
        return sum(max(least, everybody * shrink ** (i + 1)) * size for i, size in enumerate(blocks))

    if price(1.0) <= left:
        return everybody
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if price(middle) <= left else (low, middle)
    return max(least, everybody * low)
