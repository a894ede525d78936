"""The cases of a race, and the blocks in which all candidates meet them.

:func:`promptopt.search.blocks.stratified_blocks` mirrors the proportions of the labels; here the labels take turns,
because a race weights them anyway and learns most from as many violations as allowed cases.
"""

from __future__ import annotations

import random
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from promptopt.core.case import GoldenCase
from promptopt.errors import ConfigError
from promptopt.metrics.arrays import BoolArray, IntArray


@dataclass(frozen=True, slots=True)
class RaceCases:
    """The cases of a race.

    Attributes:
        labels: True for a violation, (cases,).
        strata: What blocks are spread over within each label, such as clause and severity; one value per case,
            named by its ``repr``.
        groups: What they are spread over within a stratum: template or scenario of each case; none where empty.
    """

    labels: BoolArray
    strata: Sequence[Hashable]
    groups: Sequence[str] = ()

    @classmethod
    def of(cls, cases: Sequence[GoldenCase]) -> RaceCases:
        """Golden cases, spread over clause, severity and language, and within these over groups."""
        labels = np.array([case.is_violation for case in cases], dtype=np.bool_)
        strata = [(case.clause or "", case.severity, case.language) for case in cases]
        return cls(labels, strata, [case.group for case in cases])


def race_blocks(cases: RaceCases, first: int, growth: float, seed: int) -> tuple[IntArray, ...]:
    """Divides the cases of a race into blocks.

    Violations and allowed cases take turns while both last, since the rarer label is what an AUPRC lacks; within a
    label the cases are in random order, spread evenly over the strata and, within a stratum, over the groups: cases of
    one template say much the same, and a draw that has its share of every template errs less
    (``experiments/2026-11-27-search-replay``).

    Args:
        cases: The cases.
        first: Size of the first block.
        growth: After each block so many times the cases of the one before have been seen; above 1.
        seed: Order within a stratum.

    Returns:
        Rows of each block; together every row once.

    Raises:
        ConfigError: A label has no case.
    """
    places = np.empty(len(cases.labels))
    for label, name in ((True, "violation"), (False, "allowed case")):
        rows = np.flatnonzero(np.asarray(cases.labels, dtype=np.bool_) == label)
        if not len(rows):
            raise ConfigError(f"there is no {name} among the {len(places)} cases", where="race", remedy="add some")
        places[_spread(rows, cases, seed)] = np.arange(len(rows)) + (0.0 if label else 0.5)
    order = np.argsort(places, kind="stable")
    ends, seen = [], float(first)
    while round(seen) < len(order) / growth**0.5:  # a last block that is not much smaller than the one before
        ends.append(round(seen))
        seen = max(seen * growth, seen + 1)
    return tuple(np.split(order, ends))


def _spread(rows: IntArray, cases: RaceCases, seed: int) -> list[int]:
    """Rows in random order, every stretch of them with the proportions of the strata, and of the groups within each."""
    strata: dict[str, dict[str, list[int]]] = {}
    for row in rows.tolist():
        group = cases.groups[row] if cases.groups else str(row)
        strata.setdefault(repr(cases.strata[row]), {}).setdefault(group, []).append(row)
    ranked: list[tuple[float, int]] = []
    for key, groups in sorted(strata.items()):
        draw = random.Random(f"{seed}|{key}")  # noqa: S311 (a reproducible draw, not a secret)
        for members in groups.values():
            draw.shuffle(members)
        inside = sorted(place for members in groups.values() for place in _places(members, draw))
        ranked.extend(_places([row for _, row in inside], draw))
    return [row for _, row in sorted(ranked)]


def _places(rows: Sequence[int], draw: random.Random) -> list[tuple[float, int]]:
    """Rows with evenly spaced places between 0 and 1, from a random start."""
    offset = draw.random()
    return [((i + offset) / len(rows), row) for i, row in enumerate(rows)]
