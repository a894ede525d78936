"""What every proposer owes its contract; see :mod:`promptopt.search.proposers.base`."""

from __future__ import annotations

import copy

from promptopt.search.proposers.base import History, Proposer
from promptopt.search.space import SearchSpace

_COUNT = 8


def check_proposer(proposer: Proposer, space: SearchSpace, history: History) -> None:
    """Checks a proposer.

    Args:
        proposer: The proposer.
        space: Its space.
        history: One with an incumbent and at least two complete candidates.

    Raises:
        AssertionError: It breaks the contract.
    """
    before = copy.deepcopy(list(history.tried))
    _hold(len(proposer.propose(History(), _COUNT, 0)) <= _COUNT, "too many proposals without a history")
    first = proposer.propose(history, _COUNT, 5)
    _hold(0 < len(first) <= _COUNT, f"{len(first)} proposals where 1 to {_COUNT} were wanted")
    _hold(first == proposer.propose(history, _COUNT, 5), "equal seeds gave different proposals")
    _hold(list(history.tried) == before, "the history was changed")
    for proposal in first:
        _hold(proposal.source == proposer.name, f"source {proposal.source!r} is not {proposer.name!r}")
        for name, choices in space.dimensions.items():
            _hold(
                proposal.point.get(name) in choices, f"`{name}` is {proposal.point.get(name)!r}, not one of {choices}"
            )
        _hold(not set(proposal.point) - set(space.dimensions), "the point names dimensions that do not exist")


def _hold(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)
