"""The winner's curse: estimates that are looked at because they are large are too large."""

from __future__ import annotations

import numpy as np

from promptopt.metrics.intervals import Interval


def estimate_given_significance(
    estimate: float, standard_error: float, critical: float, level: float = 0.95
) -> Interval:
    """What a normal estimate is worth once it is known that it was only looked at because it was significant.

    The maximum of the likelihood given ``|estimate| / standard_error >= critical``, and the interval that inverts the
    same truncated distribution (Zhong and Prentice, Biostatistics 9, 2008). It shrinks estimates near the critical
    value strongly and those far from it not at all.

    Args:
        estimate: The estimate that passed.
        standard_error: Its standard error, at least 0; 0 leaves the estimate as it is.
        critical: Size of ``estimate / standard_error`` that it had to reach, at least 0.
        level: Confidence level in (0, 1).

    Returns:
        The corrected estimate with its interval.

    Raises:
        ValueError: The estimate did not pass, or an argument is out of range.
    """
    if standard_error < 0 or critical < 0 or not 0 < level < 1:
        raise ValueError("a standard error and a critical value of at least 0 and a level in (0, 1) are needed")
    if standard_error == 0:
        return Interval(point=estimate, low=estimate, high=estimate, level=level)
    z, sign = abs(estimate) / standard_error, 1.0 if estimate >= 0 else -1.0
    if z < critical:
        raise ValueError(f"the estimate is {z:.3f} standard errors, {critical:.3f} are needed")
    ends = [standard_error * _truncated_mean(z, critical, tail) for tail in (None, (1 - level) / 2, (1 + level) / 2)]
    point, low, high = (sign * end for end in ends)
    return Interval(point=point, low=min(low, high), high=max(low, high), level=level)


def _truncated_mean(z: float, critical: float, tail: float | None) -> float:
    """Mean of a unit normal, seen only beyond ±critical, for which z is likeliest or ``P(X >= z)`` is ``tail``."""
    from scipy.optimize import brentq
    from scipy.special import log_ndtr

    def log_seen(mean: float) -> float:
        return float(np.logaddexp(log_ndtr(mean - critical), log_ndtr(-mean - critical)))

    def slope(mean: float) -> float:
        near, far = (np.exp(-((mean + c) ** 2) / 2 - log_seen(mean)) for c in (-critical, critical))
        return float(z - mean - (near - far) / np.sqrt(2 * np.pi))

    if tail is None:  # the truncated normal is an exponential family: the slope falls, and has one root
        return float(brentq(slope, 0.0, z)) if z > 0 and critical > 0 else z
    return float(brentq(lambda mean: np.exp(log_ndtr(mean - z) - log_seen(mean)) - tail, -z - 40, z + 40))
