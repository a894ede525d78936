"""Chooses demonstrations from the demonstration pool, by rule and seed alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain, zip_longest

from promptopt.core.case import CaseKind, GoldenCase
from promptopt.search.space import DemoChoice, DemoOrder


def choose_demos(
    pool: Sequence[GoldenCase], count: int, choice: DemoChoice, order: DemoOrder, seed: int
) -> tuple[GoldenCase, ...]:
    """Demonstrations for a prompt.

    Args:
        pool: Search cases set aside for demonstrations; no candidate is scored on them.
        count: How many; fewer when the pool is smaller.
        choice: Rule of choice, see :class:`promptopt.search.space.DemoSpace`.
        order: Order in the prompt.
        seed: The draw.

    Returns:
        The cases in the order in which they are shown; labels balanced within one as far as the pool allows.
    """
    shuffled = sorted(pool, key=lambda case: case.id)
    random.Random(f"{choice}|{seed}").shuffle(shuffled)  # noqa: S311 (a reproducible draw, not a secret)
    violating = _ranked([c for c in shuffled if c.is_violation], choice)
    allowed = _ranked([c for c in shuffled if not c.is_violation], choice)
    half = (count + 1) // 2
    chosen_violating = violating[: min(half, len(violating))]
    chosen_allowed = _partners(chosen_violating, allowed, choice)[: count - len(chosen_violating)]
    return tuple(_ordered(chosen_violating, chosen_allowed, order))


def _ranked(cases: list[GoldenCase], choice: DemoChoice) -> list[GoldenCase]:
    if choice == "contrast":
        return sorted(cases, key=lambda c: c.pair is None)
    if choice == "hard":
        return sorted(cases, key=lambda c: c.kind not in (CaseKind.HARD_NEGATIVE, CaseKind.CONTRAST))
    if choice == "clauses":
        by_clause: dict[str, list[GoldenCase]] = {}
        for case in cases:
            by_clause.setdefault(case.clause or "", []).append(case)
        rounds = zip_longest(*by_clause.values())
        return [case for case in chain.from_iterable(rounds) if case is not None]
    return cases


def _partners(violating: list[GoldenCase], allowed: list[GoldenCase], choice: DemoChoice) -> list[GoldenCase]:
    if choice != "contrast":
        return allowed
    pairs = [case.pair for case in violating if case.pair]
    return sorted(allowed, key=lambda c: pairs.index(c.pair) if c.pair in pairs else len(pairs))


def _ordered(violating: list[GoldenCase], allowed: list[GoldenCase], order: DemoOrder) -> list[GoldenCase]:
    if order == "violations_first":
        return violating + allowed
    if order == "allowed_first":
        return allowed + violating
    return [case for pair in zip_longest(violating, allowed) for case in pair if case is not None]
