"""The binomial test agrees with scipy and with the published tables of cases needed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from promptopt.errors import ConfigError
from promptopt.metrics.binomial import allowed_misses, positives_needed, tail
from promptopt.metrics.intervals import clopper_pearson_lower

FLOORS, DELTAS = st.floats(0.3, 0.98), st.floats(0.01, 0.4)


@pytest.mark.parametrize(
    ("floor", "needed"), [(0.90, (29, 46, 61, 76)), (0.95, (59, 93, 124, 153)), (0.99, (299, 473, 628, 773))]
)
def test_published_table_of_positives_needed(floor, needed):
    assert tuple(positives_needed(floor, 0.05, misses) for misses in range(4)) == needed


@given(st.integers(0, 300), FLOORS)
def test_tail_agrees_with_scipy(cases, floor):
    misses = np.arange(cases + 1)
    np.testing.assert_allclose(tail(misses, cases, floor), binom.cdf(misses, cases, 1 - floor), rtol=1e-9, atol=1e-14)


@given(FLOORS, DELTAS, st.integers(0, 20))
def test_needed_is_enough_and_one_less_is_not(floor, delta, misses):
    needed = positives_needed(floor, delta, misses)
    assert binom.cdf(misses, needed, 1 - floor) <= delta + 1e-12
    assert binom.cdf(misses, needed - 1, 1 - floor) > delta - 1e-12
    assert clopper_pearson_lower(needed - misses, needed, 1 - delta) >= floor * (1 - 1e-9)


@given(st.integers(0, 200), FLOORS, DELTAS)
def test_allowed_misses_is_the_inverse_of_needed(cases, floor, delta):
    allowed = allowed_misses(cases, floor, delta)
    if allowed >= 0:
        assert positives_needed(floor, delta, allowed) <= cases
    assert positives_needed(floor, delta, allowed + 1) > cases


def test_a_floor_very_near_one_still_has_an_answer():
    assert positives_needed(1 - 1e-6, 0.05) == 2_995_731
    with pytest.raises(ConfigError, match="lower it"):
        positives_needed(1 - 1e-13, 0.05)


@pytest.mark.parametrize(("floor", "delta"), [(0.0, 0.1), (1.0, 0.1), (0.9, 0.0), (0.9, 1.0), (float("nan"), 0.1)])
def test_what_cannot_be_certified_is_a_user_error(floor, delta):
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        positives_needed(floor, delta)
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        allowed_misses(10, floor, delta)


def test_negative_misses_are_refused():
    with pytest.raises(ValueError, match="misses"):
        positives_needed(0.9, 0.05, -1)
