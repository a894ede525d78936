"""Stratified samples of cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from promptopt.core.case import GoldenCase
from promptopt.core.digest import digest_text


def sample_cases(cases: Sequence[GoldenCase], limit: int, seed: int = 0) -> tuple[GoldenCase, ...]:
    """Samples cases in proportion to label, clause and language, spread over groups.

    Args:
        cases: The cases.
        limit: Cases to keep; all are kept when there are no more.
        seed: The sample depends on it and on the case ids, not on their order.

    Returns:
        The kept cases in order.
    """
    if len(cases) <= limit:
        return tuple(cases)
    strata: dict[tuple[str, str, str], list[GoldenCase]] = defaultdict(list)
    for case in cases:
        strata[(case.label.value, case.clause or "", case.language)].append(case)
    kept: set[str] = set()
    for key, quota in _quotas({key: len(members) for key, members in strata.items()}, limit).items():
        kept.update(case.id for case in _spread(strata[key], seed)[:quota])
    return tuple(case for case in cases if case.id in kept)


def _quotas(sizes: dict[tuple[str, str, str], int], limit: int) -> dict[tuple[str, str, str], int]:
    """Shares of the limit by largest remainder."""
    total = sum(sizes.values())
    quotas = {key: limit * size // total for key, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda key: (-(limit * sizes[key] % total), key))
    for key in by_remainder[: limit - sum(quotas.values())]:
        quotas[key] += 1
    return quotas


def _spread(cases: Sequence[GoldenCase], seed: int) -> list[GoldenCase]:
    """Cases in seeded order, one of each group before the second of any."""
    turn: dict[str, int] = defaultdict(int)
    ranked: list[tuple[int, str, GoldenCase]] = []
    for mark, case in sorted(((digest_text(f"{seed}:{c.id}"), c) for c in cases), key=lambda entry: entry[0]):
        ranked.append((turn[case.group], mark, case))
        turn[case.group] += 1
    return [case for *_, case in sorted(ranked, key=lambda entry: entry[:2])]
