"""Whether a judge's probabilities move with the policy that it is given."""

from __future__ import annotations

import numpy as np

from promptopt.core.model import FrozenModel
from promptopt.metrics.arrays import FloatArray, Measured
from promptopt.metrics.intervals import Interval, wilson_interval


class Steerability(FrozenModel):
    """How scores move when a policy is replaced by its inversion.

    Attributes:
        cases: Cases that the inversion turns from violation to allowed.
        judged: Those with a score under both policies.
        moved: Those whose probability of a violation is lower under the inversion.
        share: ``moved`` among ``judged``, with Wilson's interval; a score that stays as it is has not moved.
        mean_change: Mean of score under the inversion minus score under the policy; NaN where none is judged.
    """

    cases: int
    judged: int
    moved: int
    share: Interval
    mean_change: Measured


def steerability(policy: FloatArray, inversion: FloatArray) -> Steerability:
    """Share of the affected cases whose probability moves the right way.

    Args:
        policy: Probability of a violation under the policy, of shape (cases,); NaN where unjudged. Only cases that
            violate the policy and are allowed by its inversion belong here.
        inversion: The same cases under the inversion.

    Returns:
        The share that moves down.

    Raises:
        ValueError: The shapes differ.
    """
    if policy.shape != inversion.shape:
        raise ValueError(f"shapes differ: {policy.shape} and {inversion.shape}")
    change = inversion - policy
    judged = change[~np.isnan(change)]
    moved = int(np.count_nonzero(judged < 0))
    return Steerability(
        cases=len(change),
        judged=len(judged),
        moved=moved,
        share=wilson_interval(moved, len(judged)),
        mean_change=float(judged.mean()) if len(judged) else float("nan"),
    )
