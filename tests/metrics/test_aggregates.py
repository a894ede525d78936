"""Several judges' probabilities as one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from promptopt.metrics.aggregates import agreement, combine

HOW = st.sampled_from(["mean_logit", "mean", "median"])
ONE = st.floats(0.001, 0.999)
WEIGHT = st.one_of(st.just(0.0), st.floats(0.01, 100))


@st.composite
def juries(draw, gaps=True):
    judges = draw(st.integers(1, 5))
    value = st.one_of(ONE, st.just(float("nan"))) if gaps else ONE
    table = draw(hnp.arrays(np.float64, (draw(st.integers(1, 6)), judges), elements=value))
    weights = np.array(draw(st.lists(WEIGHT, min_size=judges, max_size=judges)))
    assume(weights.sum() > 0)
    return table, weights


def test_by_hand():
    table = np.array([[0.1, 0.5, 0.9], [0.2, np.nan, 0.6], [np.nan, np.nan, np.nan]])
    assert combine(table, np.array([1.0, 1.0, 2.0]), "mean") == pytest.approx([0.6, 1.4 / 3, np.nan], nan_ok=True)
    assert combine(table, np.ones(3), "median") == pytest.approx([0.5, 0.4, np.nan], nan_ok=True)
    assert combine(table, np.array([1.0, 1.0, 3.0]), "median") == pytest.approx([0.9, 0.6, np.nan], nan_ok=True)
    odds = np.exp((np.log(0.2 / 0.8) + 3 * np.log(0.6 / 0.4)) / 4)
    found = combine(table, np.array([1.0, 9.0, 3.0]), "mean_logit")
    assert found[1:] == pytest.approx([odds / (1 + odds), np.nan], nan_ok=True)


@settings(deadline=None)
@given(juries(), HOW)
def test_it_lies_between_the_opinions_that_count(jury, how):
    table, weights = jury
    joint = combine(table, weights, how)
    counted = table[:, weights > 0]
    for row, value in zip(counted, joint, strict=True):
        heard = row[~np.isnan(row)]
        assert np.isnan(value) == (not len(heard))
        if len(heard):
            assert heard.min() <= value <= heard.max()


@settings(deadline=None)
@given(juries(), HOW, st.randoms(use_true_random=False), st.floats(0.01, 100))
def test_neither_the_order_of_judges_nor_the_unit_of_weights_matters(jury, how, random, unit):
    table, weights = jury
    order = list(range(len(weights)))
    random.shuffle(order)
    expected = combine(table, weights, how)
    assert combine(table[:, order], weights[order] * unit, how) == pytest.approx(expected, nan_ok=True, abs=1e-9)


@settings(deadline=None)
@given(juries(), HOW)
def test_a_judge_without_opinion_is_a_judge_who_is_not_there(jury, how):
    table, weights = jury
    silent = np.concatenate([table, np.full((len(table), 1), np.nan)], axis=1)
    assert combine(silent, np.append(weights, 5.0), how) == pytest.approx(combine(table, weights, how), nan_ok=True)


@settings(deadline=None)
@given(juries(gaps=False), HOW, st.data())
def test_a_higher_opinion_never_lowers_it(jury, how, data):
    table, weights = jury
    judge = data.draw(st.integers(0, len(weights) - 1))
    raised = table.copy()
    raised[:, judge] = np.minimum(raised[:, judge] + data.draw(st.floats(0, 1)), 0.9995)
    raised = np.maximum(raised, table)
    assert (combine(raised, weights, how) >= combine(table, weights, how) - 1e-12).all()


@settings(deadline=None)
@given(juries(), HOW)
def test_the_opposite_opinions_give_the_opposite(jury, how):
    table, weights = jury
    assert combine(1 - table, weights, how) == pytest.approx(1 - combine(table, weights, how), nan_ok=True, abs=1e-9)


@settings(max_examples=50, deadline=None)
@given(juries(), HOW)
def test_a_case_is_judged_alike_in_any_company(jury, how):
    table, weights = jury
    whole = combine(table, weights, how)
    alone = [combine(row[np.newaxis, :], weights, how)[0] for row in table]
    np.testing.assert_array_equal(whole, alone)


def test_agreement_counts_the_silent_as_not_agreeing():
    verdicts = np.array([[True, True, False], [True, False, False]])
    heard = np.array([[True, True, True], [True, True, False]])
    found = agreement(verdicts, heard, np.array([2.0, 1.0, 1.0]), np.array([True, False]))
    assert found.tolist() == [0.75, 0.25]


def test_shapes_and_weights_are_checked():
    with pytest.raises(ValueError, match="weights"):
        combine(np.ones((2, 2)), np.ones(3), "mean")
    with pytest.raises(ValueError, match="negative"):
        combine(np.ones((2, 2)), np.array([1.0, -1.0]), "mean")
    assert combine(np.empty((0, 2)), np.ones(2), "median").shape == (0,)
