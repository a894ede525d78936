"""The share of cases that move the right way."""

from __future__ import annotations

import math

import numpy as np
import pytest

from promptopt.metrics.intervals import wilson_interval
from promptopt.metrics.steerability import steerability


def test_only_what_falls_has_moved_and_unjudged_cases_are_left_out():
    found = steerability(np.array([0.9, 0.5, 0.5, 0.2, np.nan]), np.array([0.1, 0.5, 0.7, np.nan, 0.1]))
    assert (found.cases, found.judged, found.moved) == (5, 3, 1)
    assert found.share == wilson_interval(1, 3)
    assert found.mean_change == pytest.approx(-0.2)


def test_nothing_judged_is_unknown_and_not_zero():
    found = steerability(np.array([np.nan]), np.array([0.5]))
    assert math.isnan(found.share.point)
    assert math.isnan(found.mean_change)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="shapes differ"):
        steerability(np.zeros(2), np.zeros(3))
