"""The bands of a cascade keep on new cases what they promise, on each stage's own scale."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from promptopt.errors import ConfigError
from promptopt.metrics.bands import Route, route
from promptopt.metrics.calibration import fit_platt
from promptopt.metrics.stage_bands import BandTerms, CascadeStage, fit_bands

DRAWS = 100
COSTS = (1.0, 10.0)


def sample(random, n, lifts=(2.0, 3.5), share=0.3):
    """Labels and two stages' probabilities; their errors have a part in common."""
    labels = random.random(n) < share
    noise = random.normal(0, 0.5, n)
    logits = [random.normal(lift * (labels - 0.5), 1.0) + noise for lift in lifts]
    return labels, [1 / (1 + np.exp(-z)) for z in logits]


def routes(bands, scores):
    """As the runtime walks: what a stage leaves, or what it is left out of, goes on; in the end to people."""
    found = np.full(len(scores[0]), int(Route.PEOPLE))
    for band, s in zip(bands, scores, strict=True):
        if band is not None:
            found = np.where(found == Route.PEOPLE, route(s, *band), found)
    return found


def stages(scores):
    return [CascadeStage(s, cost) for s, cost in zip(scores, COSTS, strict=True)]


@pytest.mark.parametrize("precision", [None, 0.8])
def test_a_two_stage_cascade_breaks_its_floors_no_more_often_than_it_says(precision):
    terms = BandTerms(0.9, 0.1, 100.0, precision)
    labels, new = sample(np.random.default_rng(99), 20_000)
    broken = settled = 0
    for draw in range(DRAWS):
        y, scores = sample(np.random.default_rng(draw), 600)
        # as bundles do: calibrated on the very cases that the bands are fitted on
        scales = [fit_platt(y, s) for s in scores]
        fitted = fit_bands(stages([c.apply(s) for c, s in zip(scales, scores, strict=True)]), y, terms)
        found = routes(fitted.bands, [c.apply(s) for c, s in zip(scales, new, strict=True)])
        recall = 1 - np.mean(found[labels] == Route.ALLOWED)
        flagged = found == Route.VIOLATION
        right = labels[flagged].mean() if flagged.any() else 1.0
        broken += recall < 0.9 or (precision is not None and right < precision)
        settled += np.mean(found != Route.PEOPLE)
    assert broken <= binom.ppf(0.999, DRAWS, 0.1)
    assert settled / DRAWS > 0.2


def test_calibrating_a_stage_on_the_same_cases_changes_no_decision():
    terms = BandTerms(0.9, 0.1, 100.0, 0.8)
    y, scores = sample(np.random.default_rng(5), 900)
    _, new = sample(np.random.default_rng(6), 2000)
    plain = fit_bands(stages(scores), y, terms)
    scales = [fit_platt(y, scores[0]), fit_platt(y[:100], scores[1][:100])]
    calibrated = fit_bands(stages([c.apply(s) for c, s in zip(scales, scores, strict=True)]), y, terms)
    moved = routes(calibrated.bands, [c.apply(s) for c, s in zip(scales, new, strict=True)])
    assert (routes(plain.bands, new) == moved).mean() > 0.999
    assert {Route.ALLOWED, Route.VIOLATION, Route.PEOPLE} == set(routes(plain.bands, new))


def test_bands_decide_the_calibration_cases_as_the_plan_does():
    y, scores = sample(np.random.default_rng(3), 900)
    for precision in (None, 0.8):
        fitted = fit_bands(stages(scores), y, BandTerms(0.9, 0.1, 100.0, precision))
        people = int((routes(fitted.bands, scores) == Route.PEOPLE).sum())
        assert people / len(y) == pytest.approx(fitted.plan.to_people.point, abs=2 / len(y))
        for band in fitted.bands:
            assert band is not None
            assert band[0] is None or band[1] is None or band[0] <= band[1]
            assert (band[1] is None) == (precision is None)


def test_a_stage_that_does_not_pay_is_left_out():
    y, scores = sample(np.random.default_rng(3), 900)
    dear = [CascadeStage(scores[0], 1.0), CascadeStage(scores[1], 1000.0)]
    assert fit_bands(dear, y, BandTerms(0.9, 0.1, 100.0)).bands[1] is None


def test_too_few_violations_leave_everything_to_people_and_say_how_many_are_missing():
    y, scores = sample(np.random.default_rng(3), 40)
    fitted = fit_bands(stages(scores), y, BandTerms(0.95, 0.05, 100.0))
    assert fitted.bands == (None, None)
    assert "more are needed" in fitted.plan.note
    with pytest.raises(ConfigError):
        fit_bands(stages(scores), y, BandTerms(1.5, 0.05, 100.0))
