"""Accuracy by function: counts add up, missing verdicts are counted and never scored, the worst come first."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.metrics.functional import accuracy_by_function
from promptopt.metrics.intervals import wilson_interval

ROWS = st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.sampled_from([True, False, None])), min_size=1)


@given(ROWS)
def test_counts_add_up(rows):
    functions, gold, said = zip(*rows, strict=True)
    report = accuracy_by_function([str(i) for i in range(len(rows))], functions, gold, said)
    for result in (*report.functions, report.overall):
        assert result.correct + result.unjudged + len(result.failed) == result.cases
        assert result.accuracy == wilson_interval(result.correct, result.cases - result.unjudged) or (
            result.cases == result.unjudged and math.isnan(result.accuracy.point)
        )
    assert sum(r.cases for r in report.functions) == report.overall.cases == len(rows)
    points = [-1 if math.isnan(r.accuracy.point) else r.accuracy.point for r in report.functions]
    assert points == sorted(points)


def test_a_missing_verdict_does_not_help_to_reach_a_minimum():
    report = accuracy_by_function(["1", "2"], ["f", "f"], [True, False], [True, None])
    assert report.overall.accuracy.point == 1.0
    assert report.overall.unjudged == 1
    assert report.reaches(0.5)
    assert not report.reaches(0.51)


def test_faults():
    with pytest.raises(ValueError, match="no cases"):
        accuracy_by_function([], [], [], [])
    with pytest.raises(ValueError, match="longer"):
        accuracy_by_function(["1"], ["f", "g"], [True], [True])
