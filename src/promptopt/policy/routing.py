"""Routing: which rule decides, given which clauses apply."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from promptopt.policy.model import Rule

BoolArray = npt.NDArray[np.bool_]
IndexArray = npt.NDArray[np.intp]


def every_assignment(clauses: int) -> BoolArray:
    """Every combination of clauses; bool of shape (2 ** clauses, clauses), the last column changing first."""
    numbers = np.arange(2**clauses)[:, np.newaxis]
    return np.asarray(numbers >> np.arange(clauses)[::-1] & 1, dtype=np.bool_)


def first_match(rules: Sequence[Rule], clauses: Sequence[str], applies: BoolArray) -> IndexArray:
    """The rule that decides each row.

    Args:
        rules: In order; the first whose condition holds decides.
        clauses: Ids of the columns.
        applies: Which clauses apply; bool of shape (rows, clauses).

    Returns:
        Index of the rule, of shape (rows,); that of the last rule where no condition holds.

    Raises:
        KeyError: A rule cites a clause that is no column.
    """
    column = {clause: applies[:, i] for i, clause in enumerate(clauses)}
    held = np.zeros((len(applies), len(rules)), dtype=np.bool_)
    for i, rule in enumerate(rules):
        when = rule.when
        holds = np.ones(len(applies), dtype=np.bool_)
        if when.any:
            holds &= np.any([column[c] for c in when.any], axis=0)
        for clause in when.all:
            holds &= column[clause]
        for clause in when.none:
            holds &= ~column[clause]
        held[:, i] = holds
    held[:, -1] = True
    return np.asarray(held.argmax(axis=1))
