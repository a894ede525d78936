"""Weights of several opinions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt.errors import ConfigError
from promptopt.metrics.weights import fit_weights


def sample(seed=0, n=300, lifts=(1.5, 0.8, 0.3), share=0.4):
    random = np.random.default_rng(seed)
    labels = random.random(n) < share
    features = np.stack([random.normal(lift * (labels - 0.5), 1.0) * 2 + 1 for lift in lifts], axis=1)
    return features, labels


def test_it_is_ridge_logistic_regression_where_no_coefficient_would_be_negative():
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, labels = sample()
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    peer = linear_model.LogisticRegression(C=1 / 3.0, tol=1e-10).fit((features - mean) / deviation, labels)
    found = fit_weights(features, labels, penalty=3.0)
    assert found.coefficients * deviation == pytest.approx(peer.coef_[0], abs=1e-4)
    assert found.log_odds(features) == pytest.approx(peer.decision_function((features - mean) / deviation), abs=1e-3)
    assert (found.rows, found.positives) == (300, int(labels.sum()))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.lists(st.floats(0.1, 10), min_size=3, max_size=3), st.floats(-5, 5))
def test_another_rising_affine_scale_of_a_feature_gives_the_same_function(seed, slopes, shift):
    features, labels = sample(seed)
    moved = features * np.array(slopes) + shift
    expected = fit_weights(features, labels).log_odds(features)
    assert fit_weights(moved, labels).log_odds(moved) == pytest.approx(expected, abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_no_coefficient_is_negative_and_a_misleading_feature_has_none(seed):
    features, labels = sample(seed, lifts=(1.5, -1.5, 0.0))
    found = fit_weights(features, labels)
    assert (found.coefficients >= 0).all()
    assert found.coefficients[1] == 0
    alone = fit_weights(features[:, [0, 2]], labels)
    assert found.coefficients[[0, 2]] == pytest.approx(alone.coefficients, abs=1e-4)


def test_a_large_penalty_leaves_the_base_rate():
    features, labels = sample()
    found = fit_weights(features, labels, penalty=1e9)
    assert 1 / (1 + np.exp(-found.log_odds(features))) == pytest.approx(labels.mean(), abs=1e-3)


def test_a_constant_feature_has_no_weight_and_unknown_rows_are_left_out():
    features, labels = sample()
    wider = np.column_stack([features, np.full(len(features), 7.0)])
    assert fit_weights(wider, labels).coefficients[3] == 0
    gaps = np.vstack([features, np.full((40, 3), np.nan)])
    found = fit_weights(gaps, np.append(labels, np.ones(40, dtype=bool)))
    assert found.coefficients == pytest.approx(fit_weights(features, labels).coefficients)
    assert np.isnan(found.log_odds(gaps)[-40:]).all()


def test_a_case_that_counts_twice_is_a_case_that_is_there_twice():
    features, labels = sample(n=60)
    counts = np.where(np.arange(60) < 20, 2, 1)
    twice = fit_weights(np.vstack([features, features[:20]]), np.append(labels, labels[:20]))
    once = fit_weights(features, labels, multiplicity=counts)
    # standardised by other means, so the penalty weighs a little differently
    assert once.log_odds(features) == pytest.approx(twice.log_odds(features), abs=0.1)
    nothing = fit_weights(features, labels, multiplicity=np.where(np.arange(60) < 50, 1, 0))
    assert nothing.rows == 50


def test_too_few_cases_are_refused_with_what_is_missing():
    features, labels = sample(n=40)
    few = np.flatnonzero(labels)[:3]
    rows = np.concatenate([few, np.flatnonzero(~labels)[:4]])
    with pytest.raises(ConfigError, match="at least 2 more violations and 1 more allowed cases are needed"):
        fit_weights(features[rows], labels[rows])
    with pytest.raises(ConfigError, match="penalty of 0"):
        fit_weights(features, labels, penalty=0)
    with pytest.raises(ValueError, match="label"):
        fit_weights(features, labels[:-1])
    with pytest.raises(ValueError, match="finite"):
        fit_weights(np.where(features > 2, np.inf, features), labels)


def test_coefficients_take_either_sign_where_they_may():
    random = np.random.default_rng(0)
    labels = random.random(300) < 0.5
    features = labels[:, np.newaxis] * np.array([1.0, -1.0]) + random.normal(0, 1, (300, 2))
    assert fit_weights(features, labels).coefficients[1] == 0
    signed = fit_weights(features, labels, signed=True).coefficients
    assert signed[0] > 0.3
    assert signed[1] < -0.3


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    cases=st.integers(12, 60),
    features=st.integers(1, 54),
    penalty=st.sampled_from([1e-6, 1e-2, 1.0, 5.0, 1e4]),
    spread=st.sampled_from([1e-3, 1.0, 50.0]),
    pull=st.sampled_from([0.0, 0.5]),
)
def test_coefficients_of_either_sign_are_at_the_minimum(seed, cases, features, penalty, spread, pull):
    """The gradient vanishes there, also with more features than cases, and where the labels can be told apart."""
    random = np.random.default_rng(seed)
    labels = np.resize([True, False], cases)
    x = random.normal(0, spread, (cases, features)) + spread * labels[:, np.newaxis] * random.random(features)
    centre = pull * random.normal(0, 1, features)
    found = fit_weights(x, labels, penalty=penalty, signed=True, centre=centre)
    surplus = 1 / (1 + np.exp(-found.log_odds(x))) - labels
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    gradient = z.T @ surplus + penalty * (found.coefficients * x.std(axis=0) - centre)
    assert gradient == pytest.approx(0, abs=1e-4 * max(1.0, penalty) ** 0.5)
    assert surplus.sum() == pytest.approx(0, abs=1e-4)


def test_a_large_penalty_leaves_the_centre():
    features, labels = sample()
    centre = [0.5, -2.0, 0.25]
    found = fit_weights(features, labels, penalty=1e9, signed=True, centre=centre)
    assert found.coefficients * features.std(axis=0) == pytest.approx(centre, abs=1e-4)
    assert (1 / (1 + np.exp(-found.log_odds(features)))).mean() == pytest.approx(labels.mean(), abs=1e-3)


def test_the_centre_of_a_feature_that_never_varies_counts_for_nothing():
    features, labels = sample()
    wider = np.column_stack([features, np.full(len(features), 7.0)])
    found = fit_weights(wider, labels, signed=True, centre=[0.0, 0.0, 0.0, 3.0])
    assert found.coefficients[3] == 0
    assert found.log_odds(wider) == pytest.approx(fit_weights(features, labels, signed=True).log_odds(features))


def test_a_centre_where_signs_are_fixed_is_a_mistake_of_the_caller():
    features, labels = sample()
    with pytest.raises(ValueError, match="either sign"):
        fit_weights(features, labels, centre=[0.0, 0.0, 0.0])
