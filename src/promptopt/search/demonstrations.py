"""Chooses demonstrations from the demonstration pool, by rule and seed alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import chain, zip_longest

from promptopt.core.case import CaseKind, GoldenCase
from promptopt.golden.similarity import shingles
from promptopt.policy.model import Policy
from promptopt.search.space import DemoChoice, DemoOrder


def choose_demos(
    pool: Sequence[GoldenCase], count: int, choice: DemoChoice, order: DemoOrder, seed: int
) -> tuple[GoldenCase, ...]:
    """Demonstrations for a prompt.

    Args:
        pool: Search cases set aside for demonstrations, or others on which no candidate is scored.
        count: How many; fewer when the pool is smaller.
        choice: Rule of choice, see :class:`promptopt.search.space.DemoSpace`.
        order: Order in the prompt.
        seed: The draw.

    Returns:
        The cases in the order in which they are shown, none of them twice; labels balanced within one as far as the
        pool allows, an odd one out being a violation.
    """
    shuffled = sorted(pool, key=lambda case: case.id)
    random.Random(f"{choice}|{seed}").shuffle(shuffled)  # noqa: S311 (a reproducible draw, not a secret)
    violating = _ranked([c for c in shuffled if c.is_violation], choice)
    allowed = _ranked([c for c in shuffled if not c.is_violation], choice)
    if choice == "contrast":
        violating, allowed = _paired_first(violating, allowed)
    quota = min(len(allowed), count // 2)
    chosen = violating[: count - quota]
    return tuple(_ordered(chosen, allowed[: count - len(chosen)], order))


def boundary_cases(policy: Policy) -> tuple[GoldenCase, ...]:
    """The policy's boundary examples as cases that can be shown; their ids start with ``boundary-``."""
    return tuple(
        GoldenCase(
            id=f"boundary-{number}",
            text=example.text,
            language=policy.language,
            label=example.label,
            clause=example.clause,
            severity=policy.by_id[example.clause].severity if example.clause else 0,
            group="policy",
            kind=CaseKind.CONTRAST,
        )
        for number, example in enumerate(policy.boundary_examples, start=1)
    )


def _ranked(cases: list[GoldenCase], choice: DemoChoice) -> list[GoldenCase]:
    if choice == "central":
        return _central_first(cases)
    if choice == "hard":
        return sorted(cases, key=lambda c: c.kind not in (CaseKind.HARD_NEGATIVE, CaseKind.CONTRAST))
    if choice in ("clauses", "precedents"):
        by_clause: dict[str, list[GoldenCase]] = {}
        for case in cases:
            by_clause.setdefault(case.clause or "", []).append(case)
        rounds = zip_longest(*by_clause.values())
        return [case for case in chain.from_iterable(rounds) if case is not None]
    return cases


def _central_first(cases: list[GoldenCase]) -> list[GoldenCase]:
    """Cases whose text is most like the others' first, by the mean Jaccard index of five-character shingles."""
    sets = [shingles(case.text) for case in cases]
    likeness = [sum(len(one & other) / len(one | other) for other in sets) for one in sets]
    order = sorted(range(len(cases)), key=lambda row: -likeness[row])
    return [cases[row] for row in order]


def _paired_first(violating: list[GoldenCase], allowed: list[GoldenCase]) -> tuple[list[GoldenCase], list[GoldenCase]]:
    """Violations whose other half is in the pool first, and those halves in the same order."""
    halves = {case.pair: case for case in reversed(allowed) if case.pair is not None}
    first: dict[str, GoldenCase] = {}
    for case in violating:
        if case.pair is not None and case.pair in halves:
            first.setdefault(case.pair, case)
    second = [halves[pair] for pair in first]
    return _led_by(list(first.values()), violating), _led_by(second, allowed)


def _led_by(first: list[GoldenCase], cases: list[GoldenCase]) -> list[GoldenCase]:
    ids = {case.id for case in first}
    return first + [case for case in cases if case.id not in ids]


def _ordered(violating: list[GoldenCase], allowed: list[GoldenCase], order: DemoOrder) -> list[GoldenCase]:
    if order == "violations_first":
        return violating + allowed
    if order == "allowed_first":
        return allowed + violating
    return [case for pair in zip_longest(violating, allowed) for case in pair if case is not None]
