"""Search, calibration and test: whole groups, stratified by label, clause and language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from promptopt.core.case import GoldenCase, Split
from promptopt.core.digest import digest_text
from promptopt.errors import GoldenSetError

DEFAULT_FRACTIONS: Mapping[str, float] = MappingProxyType({"search": 0.42, "calibration": 0.25, "test": 0.33})
_MAX_SWEEPS = 20
# a level's weight: sizes first, then labels, then the finer counts, which few groups can serve
_WEIGHTS = {"all": 4.0, "label": 4.0, "label_clause": 1.0, "language": 1.0, "label_language": 1.0, "cell": 0.25}


def assign_splits(
    cases: Sequence[GoldenCase], *, fractions: Mapping[str, float] = DEFAULT_FRACTIONS, seed: int = 0
) -> tuple[GoldenCase, ...]:
    """Divides cases into splits, a group never between two.

    Greedy iterative stratification (after Sechidis, Tsoumakas and Vlahavas, 2011) carried over to groups: the groups
    are placed one by one, those with the rarest label, clause and language first, each where the weighted chi-square
    distance of all counts from their targets grows least; then single groups are moved while that lowers it.

    Args:
        cases: The cases; splits they already have are ignored.
        fractions: Share of the cases per split; positive, adding up to 1.
        seed: Breaks ties. The result depends on it and on the cases, not on their order.

    Returns:
        The cases in order, each with its split.

    Raises:
        GoldenSetError: The fractions do not fit.
    """
    shares = _shares(fractions)
    groups = sorted({case.group for case in cases})
    if not groups:
        return ()
    table, weights = _feature_table(cases, groups)
    rarity = np.where(table > 0, table.sum(axis=0), np.inf).min(axis=1)
    ties = [digest_text(f"{seed}:{group}") for group in groups]
    order = sorted(range(len(groups)), key=lambda g: (rarity[g], -table[g, 0], ties[g]))
    placed = _place(table, weights, shares, order)
    of_group = dict(zip(groups, placed, strict=True))
    splits = tuple(Split)
    return tuple(case.model_copy(update={"split": splits[of_group[case.group]]}) for case in cases)


def _shares(fractions: Mapping[str, float]) -> list[float]:
    names = [split.value for split in Split]
    if sorted(map(str, fractions)) != sorted(names):
        raise GoldenSetError(
            f"fractions are given for {', '.join(map(str, fractions)) or 'nothing'}", remedy=f"give {', '.join(names)}"
        )
    shares = [float(fractions[name]) for name in names]
    if min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise GoldenSetError(f"fractions {shares} must be positive and add up to 1", remedy="correct the fractions")
    return shares


def _feature_table(cases: Sequence[GoldenCase], groups: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """How many cases of each group have each feature, (groups, features), and the features' weights, (features,)."""
    row = {group: i for i, group in enumerate(groups)}
    tally = Counter((row[case.group], feature) for case in cases for feature in _features(case))
    features = sorted({feature for _, feature in tally})
    column = {feature: i for i, feature in enumerate(features)}
    table = np.zeros((len(groups), len(features)))
    for (group, feature), times in tally.items():
        table[group, column[feature]] = times
    return table, np.array([_WEIGHTS[level] for level, *_ in features])


def _features(case: GoldenCase) -> tuple[tuple[str, ...], ...]:
    label, clause = case.label.value, case.clause or ""
    return (
        ("all",),
        ("label", label),
        ("label_clause", label, clause),
        ("language", case.language),
        ("label_language", label, case.language),
        ("cell", label, clause, case.language),
    )


def _place(table: np.ndarray, weights: np.ndarray, shares: list[float], order: list[int]) -> list[int]:
    """The split of each group."""
    targets = np.outer(shares, table.sum(axis=0))
    scale = weights / targets
    counts = np.zeros_like(targets)
    placed = [-1] * len(table)

    def best(group: int) -> int:
        # rounded, so that the order of a machine's additions decides nothing
        growth = (scale * table[group] * (2 * (counts - targets) + table[group])).sum(axis=1).round(9)
        home = placed[group]
        return home if home >= 0 and growth[home] == growth.min() else int(np.argmin(growth))

    for sweep in range(1 + _MAX_SWEEPS):
        moved = False
        for group in order:
            home = placed[group]
            if home >= 0:
                counts[home] -= table[group]
            placed[group] = best(group)
            counts[placed[group]] += table[group]
            moved = moved or placed[group] != home
        if sweep and not moved:
            break
    return placed
