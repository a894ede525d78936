"""The estimate given significance: right by hand, right on average, and harmless far from the critical value."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from promptopt.metrics.winners_curse import estimate_given_significance


@given(z=st.floats(1.97, 6.0))
def test_it_is_the_maximum_of_the_conditional_likelihood(z):
    grid = np.linspace(-1, 7, 1601)
    likelihood = norm.logpdf(z - grid) - np.log(norm.cdf(grid - 1.96) + norm.cdf(-grid - 1.96))

    assert estimate_given_significance(0.1 * z, 0.1, 1.96).point == pytest.approx(
        0.1 * grid[likelihood.argmax()], abs=6e-4
    )


@given(z=st.floats(2.0, 30.0), critical=st.floats(0.0, 2.0), scale=st.floats(1e-3, 10))
def test_it_shrinks_towards_nothing_keeps_the_sign_and_lies_within_its_interval(z, critical, scale):
    found = estimate_given_significance(z * scale, scale, critical)
    mirrored = estimate_given_significance(-z * scale, scale, critical)

    assert -1e-9 <= found.point <= z * scale * (1 + 1e-9)
    assert found.low <= found.point + 1e-9 * scale
    assert found.point <= found.high + 1e-9 * scale
    assert (mirrored.point, mirrored.low, mirrored.high) == pytest.approx((-found.point, -found.high, -found.low))


def test_far_from_the_critical_value_nothing_changes():
    found = estimate_given_significance(0.8, 0.1, 1.96)

    assert found.point == pytest.approx(0.8, abs=1e-6)
    assert (found.low, found.high) == pytest.approx((0.8 - 0.196, 0.8 + 0.196), abs=1e-4)


def test_the_interval_covers_the_truth_among_those_that_passed_and_the_bias_shrinks():
    random = np.random.default_rng(0)
    truth = 1.0
    passed = [x for x in random.normal(truth, 1, 3000) if abs(x) >= 1.96][:300]
    found = [estimate_given_significance(float(x), 1.0, 1.96) for x in passed]

    assert len(passed) == 300
    assert np.mean([i.low <= truth <= i.high for i in found]) == pytest.approx(0.95, abs=0.04)
    assert abs(np.mean([i.point for i in found]) - truth) < 0.7 * abs(np.mean(passed) - truth)


def test_without_error_it_stays_as_it_is():
    found = estimate_given_significance(0.3, 0.0, 1.96)
    assert (found.low, found.point, found.high) == (0.3, 0.3, 0.3)


@pytest.mark.parametrize("arguments", [(0.1, 0.1, 1.96), (0.1, -1.0, 1.0), (0.5, 0.1, -1.0), (0.5, 0.1, 1.0, 1.0)])
def test_what_did_not_pass_or_does_not_fit_is_refused(arguments):
    with pytest.raises(ValueError, match="needed"):
        estimate_given_significance(*arguments)
