"""The shapes every metric takes, and the one place where unjudged rows are left out."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BeforeValidator, PlainSerializer

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

Measured = Annotated[
    float,
    BeforeValidator(lambda value: math.nan if value is None else value),
    PlainSerializer(lambda value: value if math.isfinite(value) else None, when_used="json"),
]
"""A measured number; NaN where there was nothing to measure, null in JSON."""


def judged_rows(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[BoolArray, FloatArray]:
    """Leaves out the unjudged rows.

    Args:
        labels: True for a violation; shape (n,).
        scores: Higher means more likely a violation; shape (n,), NaN where unjudged.

    Returns:
        Labels and scores of the judged rows, in order.

    Raises:
        ValueError: The shapes differ, are not one-dimensional, or a score is infinite.
    """
    y = np.asarray(labels, dtype=np.bool_)
    s = np.asarray(scores, dtype=np.float64)
    if y.ndim != 1 or y.shape != s.shape:
        raise ValueError(f"labels and scores must have one shape (n,), not {y.shape} and {s.shape}")
    if np.isinf(s).any():
        raise ValueError("scores must be finite, or NaN where unjudged")
    keep = ~np.isnan(s)
    return y[keep], s[keep]
