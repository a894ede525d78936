"""A band sends to people exactly what neither certificate covers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt.metrics.bands import Band, Route, certify, choose_band, route
from promptopt.metrics.certificates import certify_precision, certify_recall


def sample(n, seed=0, lift=2.0, share=0.3):
    random = np.random.default_rng(seed)
    labels = random.random(n) < share
    return labels, random.normal(lift * labels, 1.0)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(20, 500), st.floats(0.0, 4.0), st.sampled_from([0.6, 0.8, 0.9]))
def test_both_ends_are_the_certificates_at_half_of_delta(seed, n, lift, floor):
    labels, scores = sample(n, seed, lift)
    recall, precision = certify_recall(labels, scores, floor, 0.05), certify_precision(labels, scores, floor, 0.05)
    joint, band = certify(labels, scores, floor, floor, 0.1), choose_band(labels, scores, floor, floor, 0.1)
    both = recall.feasible and precision.feasible and precision.threshold <= recall.threshold
    assert joint.feasible == both
    assert bool(joint.note) != both
    if both:
        assert joint.threshold == joint.recall.threshold == joint.precision.threshold == precision.threshold
        assert joint.recall.misses == int((labels & (scores < joint.threshold)).sum()) <= recall.misses
        assert joint.recall.p_value <= 0.05
        assert band.low == band.high == joint.threshold
        assert band.escalated.point == 0.0
    else:
        assert (band.low, band.high) == (recall.threshold, precision.threshold)
        assert joint.threshold is None
    decided = band.decide(scores)
    assert band.escalated.point == pytest.approx(np.mean(decided == Route.PEOPLE))
    if band.low is not None:
        assert ((decided == Route.ALLOWED) == (scores < band.low)).all()
    if band.high is not None:
        assert ((decided == Route.VIOLATION) == (scores >= band.high)).all()


def test_floors_that_conflict_name_both_thresholds():
    joint = certify(*sample(2000, 1, lift=1.5), 0.95, 0.7, 0.1)
    assert joint.recall.feasible
    assert joint.precision.feasible
    assert not joint.feasible
    assert f"{joint.recall.threshold:.4g}" in joint.note
    assert f"{joint.precision.threshold:.4g}" in joint.note


def test_an_end_that_cannot_be_certified_goes_to_people_and_says_why():
    labels, scores = sample(2000, 1, lift=1.0)
    band = choose_band(labels, scores, 0.9, 0.99, 0.1)
    assert band.high is None
    assert band.low is not None
    assert Route.VIOLATION not in band.decide(scores)
    assert "precision 0.99" in band.note
    nothing = choose_band(labels[:20], scores[:20], 0.9, 0.9, 0.1)
    assert (nothing.low, nothing.high) == (None, None)
    assert nothing.escalated.point == 1.0
    assert "violations" in nothing.note
    assert "flagged" in nothing.note


def test_unjudged_cases_are_allowed_or_seen_by_people_as_is_said():
    labels, scores = sample(1000, 2)
    scores[np.flatnonzero(labels)[0]] = np.nan
    for unjudged, expected in (("miss", Route.ALLOWED), ("escalate", Route.PEOPLE)):
        band = choose_band(labels, scores, 0.8, 0.8, 0.1, unjudged=unjudged)
        assert band.decide(np.array([np.nan]))[0] == expected
        assert band.recall.misses == int((labels & (scores < band.low)).sum()) + (unjudged == "miss")


def test_no_cases_at_all():
    band = choose_band(np.zeros(0, dtype=bool), np.zeros(0), 0.9, 0.9, 0.1)
    assert math.isnan(band.escalated.point)
    assert Band.model_validate_json(band.model_dump_json()).note == band.note


def test_route_without_ends_sends_everything_to_people():
    assert route(np.array([0.1, np.nan, 0.9]), None, None).tolist() == [Route.PEOPLE] * 3
    assert route(np.array([0.1, np.nan, 0.9]), 0.5, 0.5).tolist() == [Route.ALLOWED, Route.PEOPLE, Route.VIOLATION]


def test_either_floor_is_broken_in_at_most_delta_of_the_draws():
    labels, scores = sample(200_000, 10**6)
    broken = 0
    for seed in range(300):
        band = choose_band(*sample(400, seed), 0.85, 0.75, 0.1)
        decided = band.decide(scores)
        kept = (decided[labels] != Route.ALLOWED).mean() >= 0.85
        pure = band.high is None or labels[decided == Route.VIOLATION].mean() >= 0.75
        broken += not (kept and pure)
    assert broken / 300 <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 300)
