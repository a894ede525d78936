"""Near-duplicate texts: found exactly, and kept from lying in two splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from promptopt.core.case import GoldenCase
from promptopt.golden.components import Components
from promptopt.golden.similarity import similar_pairs

NEAR_DUPLICATE_THRESHOLD = 0.5


class NearDuplicate(NamedTuple):
    """Ids of two cases with much the same text, and the Jaccard index of their five-character shingles."""

    first: str
    second: str
    similarity: float


def near_duplicates_across_splits(
    cases: Sequence[GoldenCase], threshold: float = NEAR_DUPLICATE_THRESHOLD
) -> tuple[NearDuplicate, ...]:
    """Pairs of cases in different splits whose texts are nearly the same.

    Args:
        cases: Cases with their splits.
        threshold: Least similarity of a near-duplicate, in (0, 1].

    Returns:
        The pairs, the most similar first.
    """
    pairs = similar_pairs([c.words for c in cases], threshold, lambda a, b: cases[a].split is not cases[b].split)
    found = [NearDuplicate(cases[a].id, cases[b].id, similarity) for a, b, similarity in pairs]
    return tuple(sorted(found, key=lambda pair: (-pair.similarity, pair.first, pair.second)))


def merge_near_duplicate_groups(
    cases: Sequence[GoldenCase], threshold: float = NEAR_DUPLICATE_THRESHOLD
) -> tuple[GoldenCase, ...]:
    """Merges groups that near-duplicate texts connect, so that no split can part them.

    Args:
        cases: Cases with their groups.
        threshold: Least similarity of a near-duplicate, in (0, 1].

    Returns:
        The cases in order; a merged group takes the first of its names in sorted order.
    """
    groups = [case.group for case in cases]
    merged = Components(groups)

    def apart(first: int, second: int) -> bool:
        return merged.find(groups[first]) != merged.find(groups[second])

    for first, second, _ in similar_pairs([c.words for c in cases], threshold, apart):
        merged.join(groups[first], groups[second])
    return tuple(
        case if (name := merged.find(case.group)) == case.group else case.model_copy(update={"group": name})
        for case in cases
    )
