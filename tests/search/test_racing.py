"""Racing lets the best share go on, whatever else was seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from promptopt.search.objective import ObjectiveConfig, measure
from promptopt.search.racing import RacingConfig, goes_on

VALUES = st.floats(0, 1, allow_nan=False)
CONFIGS = st.builds(RacingConfig, keep=st.floats(0.01, 1.0), warmup=st.integers(0, 5))


@given(VALUES, st.lists(VALUES, max_size=30), CONFIGS)
def test_it_is_among_the_best_share(value, earlier, config):
    better = sum(other > value for other in earlier)
    if goes_on(value, earlier, config):
        assert len(earlier) < config.warmup or better < max(1, math.ceil(config.keep * (len(earlier) + 1)))
    else:
        assert better >= config.keep * (len(earlier) + 1) - 1e-6


@given(VALUES, VALUES, st.lists(VALUES, max_size=30), CONFIGS)
def test_a_better_candidate_goes_on_where_a_worse_one_does(first, second, earlier, config):
    worse, better = sorted((first, second))
    assert goes_on(better, earlier, config) or not goes_on(worse, earlier, config)


@given(st.lists(VALUES, max_size=30), CONFIGS)
def test_the_best_so_far_and_its_equals_always_go_on(earlier, config):
    assert goes_on(max(earlier, default=0.5), earlier, config)


@given(VALUES, st.lists(VALUES, max_size=30), CONFIGS, st.randoms(use_true_random=False))
def test_the_order_of_the_others_does_not_matter(value, earlier, config, draw):
    shuffled = list(earlier)
    draw.shuffle(shuffled)
    assert goes_on(value, shuffled, config) == goes_on(value, earlier, config)


def test_the_first_ones_pass():
    config = RacingConfig(warmup=3, keep=0.1)
    assert [goes_on(0.0, [0.5] * n, config) for n in range(5)] == [True, True, True, False, False]


def test_keep_is_a_share_of_all_that_were_seen():
    config = RacingConfig(warmup=0, keep=0.1)
    assert goes_on(0.5, [0.9, 0.8] + [0.1] * 27, config), "third of thirty, and 0.1 * 30 is three"
    assert not goes_on(0.5, [0.9, 0.8, 0.7] + [0.1] * 26, config)


@pytest.mark.parametrize("wrong", [{"blocks": [0]}, {"blocks": [-3]}, {"keep": 0.0}, {"keep": 1.2}, {"warmup": -1}])
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        RacingConfig.model_validate(wrong)


def test_objectives_are_read_off_the_whole_vector():
    labels = np.array([True, True, False, False])
    measured = measure(labels, np.array([0.9, 0.6, 0.7, 0.1]), np.array([1, 4, 0, 0]), 12.5, ObjectiveConfig())
    config = ObjectiveConfig(names=("auprc", "tokens", "recall_at_precision", "severity_cost", "recall_at_fpr"))
    assert measured.values(config) == pytest.approx([0.5 + 2 / 3 / 2, 12.5, 0.5, 0.5, 0.5])
    assert config.directions == ["maximize", "minimize", "maximize", "minimize", "maximize"]
    assert measured.metrics()["tokens_per_case"] == 12.5
    silent = measure(labels, np.full(4, np.nan), np.zeros(4, int), 1.0, ObjectiveConfig())
    assert math.isnan(silent.values(ObjectiveConfig())[0])
    assert silent.summary.unjudged == 4


def test_fewer_tokens_are_better():
    assert ObjectiveConfig(names=("tokens",)).goodness(10) > ObjectiveConfig(names=("tokens",)).goodness(20)
    assert ObjectiveConfig(names=("f1",)).goodness(0.9) > ObjectiveConfig(names=("f1",)).goodness(0.1)


def test_objectives_must_differ():
    with pytest.raises(ValidationError, match="must differ"):
        ObjectiveConfig(names=("auprc", "auprc"))
