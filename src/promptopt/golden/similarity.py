"""Exact search for pairs of similar texts."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence

SHINGLE_LENGTH = 5
_SPACE = re.compile(r"\s+")


def shingles(text: str) -> frozenset[str]:
    """The five-character substrings of a text after Unicode, case and white-space folding.

    A text shorter than that has one shingle, the whole of it.
    """
    folded = _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return frozenset(folded[i : i + SHINGLE_LENGTH] for i in range(max(1, len(folded) - SHINGLE_LENGTH + 1)))


def similar_pairs(
    texts: Sequence[str], threshold: float, wanted: Callable[[int, int], bool]
) -> Iterator[tuple[int, int, float]]:
    """Every wanted pair of texts whose shingle sets have a Jaccard index of at least the threshold.

    Exact, by the prefix and length filters of Bayardo, Ma and Srikant, "Scaling up all pairs similarity search"
    (2007): with shingles ordered from rare to common, two sets that reach threshold t share one of the first
    ``size - ceil(t * size) + 1`` shingles of each.

    Args:
        texts: The texts.
        threshold: In (0, 1].
        wanted: Whether a pair of positions is of interest; asked just before the pair is compared.

    Yields:
        Two positions, the smaller first, and their similarity.

    Raises:
        ValueError: The threshold is not in (0, 1].
    """
    if not 0 < threshold <= 1:
        raise ValueError(f"a similarity threshold must be above 0 and at most 1, not {threshold}")
    sets = [shingles(text) for text in texts]
    frequency = Counter(shingle for members in sets for shingle in members)
    index: dict[str, list[int]] = defaultdict(list)
    for here in sorted(range(len(sets)), key=lambda i: (len(sets[i]), i)):
        members = sets[here]
        least = math.ceil(threshold * len(members) - 1e-9)
        prefix = sorted(members, key=lambda s: (frequency[s], s))[: len(members) - least + 1]
        for there in sorted({i for shingle in prefix for i in index[shingle] if len(sets[i]) >= least}):
            low, high = min(here, there), max(here, there)
            if wanted(low, high) and (similarity := _jaccard(members, sets[there])) >= threshold:
                yield low, high, similarity
        for shingle in prefix:
            index[shingle].append(here)


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    shared = len(first & second)
    return shared / (len(first) + len(second) - shared)
