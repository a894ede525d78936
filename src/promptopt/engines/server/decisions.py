"""From the tokens that a server names to label probabilities, or to the reason why there are none."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from promptopt.engines.server.answers import TopToken
from promptopt.engines.tokenization import TokenIds

SHARED = -1
NEGLIGIBLE = 1e-3
_ROUNDING = 1e-4
_REMAINDER_ROUNDING = 1e-6
_LOWEST = -9999.0  # what vLLM writes for a probability of zero


@dataclass(frozen=True, slots=True)
class Decision:
    """One request: what comes next, among these options?

    Attributes:
        body: What to post.
        suffix: Tokens of the labels that the request adds to the prompt.
        options: What the options lead to, for reasons.
        match: The number of the option that a token stands for, None for no option, or :data:`SHARED` for a token
            that cannot be told to be one option or another.
        shared_reason: Why a row has no scores when such tokens weigh too much.
    """

    body: Mapping[str, Any]
    suffix: TokenIds
    options: tuple[str, ...]
    match: Callable[[TopToken], int | None]
    shared_reason: str


def read_decision(decision: Decision, tokens: Sequence[TopToken]) -> list[float] | str:
    """Log-probabilities of a decision's options.

    An option that the server does not name is less likely than every token that it does name, and than all that these
    leave over. Where even that much is a thousandth of the named options together, or less, it is what the option
    gets; otherwise nobody knows.

    Args:
        decision: What was asked.
        tokens: What the server named.

    Returns:
        One natural log-probability per option, normalised over the options, or why the row cannot be judged.
    """
    if not tokens:
        return "the server returned no logprobs"
    for token in tokens:
        if not (math.isfinite(token.logprob) and token.logprob <= _ROUNDING):
            return f"the server returned {token.logprob} as a log-probability"
    masses = _masses(decision, tokens)
    named = [i for i in range(len(decision.options)) if i in masses]
    if not named:
        return f"none of {_listed(decision.options)} is among the {len(tokens)} likeliest tokens that the server named"
    total = _add([masses[i] for i in named])
    if SHARED in masses and masses[SHARED] - total > math.log(NEGLIGIBLE):
        return decision.shared_reason
    bound = min(min(t.logprob for t in tokens), _remainder(tokens))
    missing = [name for i, name in enumerate(decision.options) if i not in masses]
    if missing and bound - total > math.log(NEGLIGIBLE):
        verb = "is" if len(missing) == 1 else "are"
        return (
            f"{_listed(missing)} {verb} not among the {len(tokens)} likeliest tokens that the server named "
            "(judge.server.top_logprobs asks for more)"
        )
    values = [max(masses.get(i, bound), _LOWEST) for i in range(len(decision.options))]
    total = _add(values)
    return [value - total for value in values]


def _masses(decision: Decision, tokens: Sequence[TopToken]) -> dict[int, float]:
    """Log-probability of all tokens that stand for an option."""
    found: dict[int, list[float]] = {}
    for token in tokens:
        option = decision.match(token)
        if option is not None:
            found.setdefault(option, []).append(token.logprob)
    return {option: _add(values) for option, values in found.items()}


def _remainder(tokens: Sequence[TopToken]) -> float:
    """Log-probability that the named tokens leave over; never less than their sum's rounding."""
    return math.log(max(1.0 - math.fsum(math.exp(t.logprob) for t in tokens), 0.0) + _REMAINDER_ROUNDING)


def _add(values: Sequence[float]) -> float:
    return float(np.logaddexp.reduce(np.asarray(values, dtype=np.float64)))


def _listed(names: Sequence[str]) -> str:
    return ("label " if len(names) == 1 else "labels ") + ", ".join(repr(name) for name in names)
