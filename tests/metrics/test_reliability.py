"""Reliability bins hold what they should, and the parts of the Brier score add up."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve

from promptopt.metrics.calibration import brier_score, expected_calibration_error
from promptopt.metrics.intervals import wilson_interval
from promptopt.metrics.reliability import adaptive_calibration_error, brier_decomposition, reliability

ROWS = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=60)


def columns(rows):
    return np.array([row[0] for row in rows], dtype=bool), np.array([row[1] for row in rows], dtype=float)


def sample(n, seed=0):
    random = np.random.default_rng(seed)
    probabilities = random.random(n)
    return random.random(n) < probabilities, probabilities


@pytest.mark.parametrize(("binning", "peer"), [("width", "uniform"), ("mass", "quantile")])
def test_agrees_with_scikit_learn(binning, peer):
    labels, probabilities = sample(1000)
    found = reliability(labels, probabilities, binning=binning)
    observed, predicted = calibration_curve(labels, probabilities, n_bins=10, strategy=peer)
    np.testing.assert_allclose(
        [point.predicted for point in found], predicted, atol=1e-9 if binning == "width" else 2e-3
    )
    np.testing.assert_allclose(
        [point.observed.point for point in found], observed, atol=1e-9 if binning == "width" else 0.02
    )


@given(ROWS, st.integers(1, 12), st.sampled_from(["width", "mass"]))
def test_bins_rise_hold_every_row_and_never_split_a_tie(rows, bins, binning):
    labels, probabilities = columns(rows)
    found = reliability(labels, probabilities, bins, binning=binning)
    assert 1 <= len(found) <= bins
    assert sum(point.count for point in found) == len(labels)
    assert sum(point.observed.point * point.count for point in found) == pytest.approx(labels.sum())
    assert all(before.highest < after.lowest for before, after in pairwise(found))
    assert all(point.lowest <= point.predicted + 1e-12 and point.predicted <= point.highest + 1e-12 for point in found)


def test_bins_of_equal_mass_are_equal_where_nothing_is_tied():
    assert [point.count for point in reliability(*sample(1000), 8, binning="mass")] == [125] * 8


def test_intervals_are_wilsons():
    labels, probabilities = np.array([True, False, True, True]), np.array([0.91, 0.92, 0.93, 0.1])
    low, high = reliability(labels, probabilities, 2, level=0.9)
    assert low.observed == wilson_interval(1, 1, 0.9)
    assert high.observed == wilson_interval(2, 3, 0.9)
    assert (high.lowest, high.highest, high.count) == (0.91, 0.93, 3)


@given(ROWS, st.integers(1, 12))
def test_errors_are_the_weighted_distances_of_the_diagram(rows, bins):
    labels, probabilities = columns(rows)
    for error, binning in ((adaptive_calibration_error, "mass"), (expected_calibration_error, "width")):
        points = reliability(labels, probabilities, bins, binning=binning)
        expected = sum(abs(point.predicted - point.observed.point) * point.count for point in points) / len(labels)
        assert error(labels, probabilities, bins) == pytest.approx(expected, abs=1e-9)


def test_adaptive_error_sees_what_bins_of_equal_width_hide():
    """All probabilities in one tenth, the lower half too high and the upper half too low."""
    probabilities = np.linspace(0.01, 0.09, 2000)
    labels = np.random.default_rng(0).random(2000) < np.where(probabilities < 0.05, 0.0, 0.1)
    assert expected_calibration_error(labels, probabilities) < 0.015
    assert adaptive_calibration_error(labels, probabilities) > 0.02


@given(ROWS, st.one_of(st.none(), st.integers(1, 12)))
def test_the_parts_add_up_to_the_brier_score(rows, bins):
    labels, probabilities = columns(rows)
    parts = brier_decomposition(labels, probabilities, bins)
    assert parts.brier == pytest.approx(brier_score(labels, probabilities))
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert total == pytest.approx(parts.brier, abs=1e-12)
    assert min(parts.reliability, parts.resolution, parts.uncertainty) >= 0
    if bins is None:
        assert parts.within == pytest.approx(0.0, abs=1e-12)


def test_parts_by_hand():
    labels = np.array([True, True, False, False, False])
    probabilities = np.array([0.8, 0.8, 0.8, 0.2, 0.2])
    parts = brier_decomposition(labels, probabilities)
    assert parts.uncertainty == pytest.approx(0.4 * 0.6)
    assert parts.reliability == pytest.approx((3 * (0.8 - 2 / 3) ** 2 + 2 * 0.2**2) / 5)
    assert parts.resolution == pytest.approx((3 * (2 / 3 - 0.4) ** 2 + 2 * 0.4**2) / 5)


def test_unjudged_rows_are_left_out_and_nothing_judged_is_nan():
    labels, probabilities = sample(100)
    blind_labels, blind = np.append(labels, [True] * 3), np.append(probabilities, [np.nan] * 3)
    assert reliability(blind_labels, blind) == reliability(labels, probabilities)
    assert brier_decomposition(blind_labels, blind, 5) == brier_decomposition(labels, probabilities, 5)
    nothing = np.array([True]), np.array([np.nan])
    assert reliability(*nothing, binning="mass") == []
    assert math.isnan(adaptive_calibration_error(*nothing))
    assert '"brier":null' in brier_decomposition(*nothing).model_dump_json()


@pytest.mark.parametrize(
    "call",
    [
        lambda y, p: reliability(y, p, 0),
        lambda y, p: reliability(y, p, binning="depth"),
        lambda y, p: reliability(y, p, level=1.0),
        lambda y, p: reliability(y, p + 1),
        lambda y, p: reliability(y[:-1], p),
        lambda y, p: adaptive_calibration_error(y, p, 0),
        lambda y, p: brier_decomposition(y, -p),
    ],
)
def test_unfit_arguments_are_refused(call):
    with pytest.raises(ValueError, match=r"must"):
        call(*sample(20))
