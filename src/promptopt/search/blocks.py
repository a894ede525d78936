"""Blocks of search cases: every candidate meets the same cases in the same order, each block a small mirror of all."""

from __future__ import annotations

import random
from collections.abc import Sequence

from promptopt.core.case import GoldenCase, Label

MIN_PER_LABEL = 4


def demo_pool(
    cases: Sequence[GoldenCase], size: int, seed: int
) -> tuple[tuple[GoldenCase, ...], tuple[GoldenCase, ...]]:
    """Sets whole groups aside for demonstrations, so that no candidate is scored on what its prompt shows.

    Args:
        cases: The search split.
        size: Cases wanted in the pool; whole groups are taken until it is reached.
        seed: Which groups.

    Returns:
        The pool and the cases that candidates are scored on, both in the order of ``cases``.
    """
    groups: dict[str, list[GoldenCase]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    names = sorted(groups)
    random.Random(seed).shuffle(names)  # noqa: S311 (a reproducible draw, not a secret)
    # Groups that hold both labels first: contrast pairs make the most telling demonstrations.
    names.sort(key=lambda name: len({case.label for case in groups[name]}) < 2)
    taken: set[str] = set()
    count = 0
    for name in names:
        if count >= size:
            break
        taken.add(name)
        count += len(groups[name])
    pool = tuple(case for case in cases if case.group in taken)
    return pool, tuple(case for case in cases if case.group not in taken)


def stratified_blocks(cases: Sequence[GoldenCase], sizes: Sequence[int], seed: int) -> list[tuple[GoldenCase, ...]]:
    """Divides cases into blocks with the whole set's proportions of label, clause and language.

    Args:
        cases: What candidates are scored on.
        sizes: Sizes of the first blocks, 1 or more; what is left forms the last one.
        seed: Order within a stratum.

    Returns:
        Disjoint blocks that together hold every case once. The first holds at least four cases of either label where
        there are so many and it has room: with fewer, nothing can be said of a candidate yet.
    """
    strata: dict[tuple[str, str, str], list[GoldenCase]] = {}
    for case in sorted(cases, key=lambda c: c.id):
        strata.setdefault((case.label.value, case.clause or "", case.language), []).append(case)
    ranked: list[tuple[float, GoldenCase]] = []
    for key, members in sorted(strata.items()):
        draw = random.Random(f"{seed}|{key}")  # noqa: S311 (a reproducible draw, not a secret)
        draw.shuffle(members)
        offset = draw.random()
        ranked.extend(((i + offset) / len(members), case) for i, case in enumerate(members))
    ordered = [case for _, case in sorted(ranked, key=lambda pair: (pair[0], pair[1].id))]
    if sizes:
        ordered = _with_both_labels_early(ordered, sizes[0])
    blocks: list[tuple[GoldenCase, ...]] = []
    start = 0
    for size in sizes:
        if start + size >= len(ordered):
            break
        blocks.append(tuple(ordered[start : start + size]))
        start += size
    blocks.append(tuple(ordered[start:]))
    return blocks


def _with_both_labels_early(ordered: list[GoldenCase], size: int) -> list[GoldenCase]:
    """Moves a rare label's first cases into the first ``size``; what was there last makes room."""
    wanted = min(MIN_PER_LABEL, size // 2)
    early: set[str] = set()
    for label in Label:
        early.update([case.id for case in ordered if case.label is label][:wanted])
    rest = iter([case for case in ordered if case.id not in early])
    kept = {case.id for case, _ in zip(rest, range(size - len(early)), strict=False)} | early
    return [c for c in ordered if c.id in kept] + [c for c in ordered if c.id not in kept]
