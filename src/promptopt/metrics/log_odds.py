"""Probabilities as log-odds, and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

CLIP = 1e-6
_FloatArray = npt.NDArray[np.float64]


def log_odds(probabilities: npt.ArrayLike) -> _FloatArray:
    """Log-odds of probabilities clipped to [``CLIP``, 1 - ``CLIP``]; any shape, NaN stays NaN."""
    clipped = np.clip(np.asarray(probabilities, dtype=np.float64), CLIP, 1 - CLIP)
    return np.asarray(np.log(clipped) - np.log1p(-clipped), dtype=np.float64)


def sigmoid(x: npt.ArrayLike) -> _FloatArray:
    """The probability that has these log-odds; any shape, NaN stays NaN."""
    with np.errstate(invalid="ignore"):  # NaN is a value here, not an accident
        return np.asarray(np.exp(-np.logaddexp(0.0, -np.asarray(x, dtype=np.float64))), dtype=np.float64)
