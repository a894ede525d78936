"""The binomial test behind every certificate, and how many cases it needs."""

from __future__ import annotations

import numpy as np

from promptopt.errors import ConfigError
from promptopt.metrics.arrays import FloatArray, IntArray

_MOST_CASES = 2**40


def positives_needed(floor: float, delta: float, misses: int = 0) -> int:
    """Fewest violations with which a recall floor can be certified when this many are missed.

    Equally the fewest flagged cases with which a precision floor can be certified at this many false alarms.

    Raises:
        ConfigError: Floor or delta is not in (0, 1).
        ValueError: A negative number of misses.
    """
    check_risk(floor, delta)
    if misses < 0:
        raise ValueError(f"misses must be at least 0, not {misses}")
    low, high = misses, misses + 1
    while float(tail(misses, high, floor)) > delta:
        if high > _MOST_CASES:
            raise ConfigError(f"a floor of {floor} needs more than {_MOST_CASES} cases", remedy="lower it")
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if float(tail(misses, middle, floor)) > delta else (low, middle)
    return high


def allowed_misses(cases: int, floor: float, delta: float) -> int:
    """Most misses among this many cases with which the floor is certified; -1 where even none is too many."""
    check_risk(floor, delta)
    return int(np.count_nonzero(tail(np.arange(cases + 1), cases, floor) <= delta)) - 1


def tail(misses: IntArray | int, cases: IntArray | int, floor: float) -> FloatArray:
    """Probability of at most this many misses among the cases where misses have rate ``1 - floor``; broadcasts."""
    from scipy.special import betainc

    m, n = np.asarray(misses, dtype=np.float64), np.asarray(cases, dtype=np.float64)
    return np.where(m < n, betainc(np.maximum(n - m, 1.0), m + 1, floor), 1.0)


def check_risk(floor: float, delta: float) -> None:
    """Refuses what no finite number of cases can certify.

    Raises:
        ConfigError: Floor or delta is not in (0, 1).
    """
    if not 0 < floor < 1:
        raise ConfigError(f"a floor of {floor} cannot be certified", remedy="give a number above 0 and below 1")
    check_delta(delta)


def check_delta(delta: float) -> None:
    """Refuses a delta outside (0, 1).

    Raises:
        ConfigError: It is outside.
    """
    if not 0 < delta < 1:
        raise ConfigError(f"delta is {delta}", remedy="give a probability above 0 and below 1")
