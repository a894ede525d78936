"""Paired tests: equal to counting every swap by hand, right in their error, blind to what must not matter."""

from __future__ import annotations

import itertools
import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from promptopt.metrics.counts import NEAR_TIE, CountForm, average_precision_of, recall_at_precision_of
from promptopt.metrics.operating_point import recall_at_precision
from promptopt.metrics.ranking import average_precision
from promptopt.metrics.significance import (
    f1_of,
    holm,
    mcnemar,
    paired_ranking_test,
    paired_verdict_test,
    precision_of,
    recall_of,
)

AUPRC = CountForm(average_precision_of, 0.0)
RECALL = CountForm(partial(recall_at_precision_of, floor=0.6), NEAR_TIE)


def pair_of_judges(n, seed=0, lift=0.0):
    random = np.random.default_rng(seed)
    labels = random.random(n) < 0.4
    latent = random.normal(1.5 * labels, 1.0)
    return labels, latent + random.normal(0, 0.5, n), latent + lift * labels + random.normal(0, 0.5, n)


def mid_ranks(scores):
    return np.array([(scores < s).sum() + (scores == s).sum() / 2 for s in scores])


@pytest.mark.parametrize(
    ("form", "metric"), [(AUPRC, average_precision), (RECALL, partial(recall_at_precision, floor=0.6))]
)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_few_groups_are_swapped_in_every_way(form, metric, seed):
    labels, a, b = pair_of_judges(10, seed)
    a, b = np.round(a, 1), np.round(b, 1)  # with ties
    labels[:2] = True, False
    groups = np.arange(10) // 2
    ranked_a, ranked_b = mid_ranks(a), mid_ranks(b)
    differences = []
    for swap in itertools.product([False, True], repeat=5):
        swapped = np.array(swap)[groups]
        one, other = np.where(swapped, ranked_b, ranked_a), np.where(swapped, ranked_a, ranked_b)
        differences.append(metric(labels, other) - metric(labels, one))
    tested = paired_ranking_test(labels, a, b, form, groups=groups, permutations=32)

    assert tested.groups == 5
    assert (tested.a, tested.b) == pytest.approx((metric(labels, a), metric(labels, b)))
    assert tested.p == np.mean(np.abs(differences) >= abs(tested.difference) - 1e-9)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_recall_with_single_cases_is_mcnemars_exact_test(seed):
    random = np.random.default_rng(seed)
    labels = np.ones(9, dtype=bool)
    a, b = random.random(9) < 0.5, random.random(9) < 0.7
    tested = paired_verdict_test(labels, a, b, recall_of, permutations=512)

    assert tested.p == pytest.approx(mcnemar(a, b).p)


def test_verdict_metrics_are_those_of_the_counts():
    labels = np.array([1, 1, 1, 1, 0, 0], dtype=bool)
    a = np.array([1, 1, 0, 0, 1, 0], dtype=bool)
    b = np.array([1, 1, 1, 0, 0, 0], dtype=bool)

    values = {m: paired_verdict_test(labels, a, b, m) for m in (recall_of, precision_of, f1_of)}
    assert (values[recall_of].a, values[recall_of].b) == (0.5, 0.75)
    assert (values[precision_of].a, values[precision_of].b) == (pytest.approx(2 / 3), 1.0)
    assert (values[f1_of].a, values[f1_of].b) == (pytest.approx(4 / 7), pytest.approx(6 / 7))


def test_a_metric_that_is_undefined_has_no_p_value():
    labels, nothing = np.array([True, False]), np.array([False, False])

    assert math.isnan(paired_verdict_test(labels, nothing, labels, precision_of).p)
    assert math.isnan(paired_ranking_test(nothing, np.array([0.1, 0.2]), np.array([0.2, 0.1]), AUPRC).p)


def test_scales_do_not_matter_and_unjudged_rows_are_left_out_of_both():
    labels, a, b = pair_of_judges(60, 3, lift=0.8)
    tested = paired_ranking_test(labels, a, b, AUPRC, permutations=500)
    rescaled = paired_ranking_test(labels, a, 1 / (1 + np.exp(-4 * b - 7)), AUPRC, permutations=500)
    assert rescaled == tested

    holes_a, holes_b = a.copy(), b.copy()
    holes_a[4], holes_b[7] = np.nan, np.nan
    kept = ~(np.isnan(holes_a) | np.isnan(holes_b))
    assert paired_ranking_test(labels, holes_a, holes_b, AUPRC) == paired_ranking_test(
        labels[kept], a[kept], b[kept], AUPRC
    )


def test_the_same_seed_gives_the_same_p_value_and_swapping_the_judges_too():
    labels, a, b = pair_of_judges(50, 1)
    first = paired_ranking_test(labels, a, b, AUPRC, permutations=300, seed=5)

    assert paired_ranking_test(labels, a, b, AUPRC, permutations=300, seed=5) == first
    assert paired_ranking_test(labels, b, a, AUPRC, permutations=300, seed=5).p == first.p
    assert paired_ranking_test(labels, a, b, AUPRC, permutations=300, seed=6).p != first.p


def test_equal_judges_do_not_differ():
    labels, a, _ = pair_of_judges(40)
    assert paired_ranking_test(labels, a, a, AUPRC, permutations=200).p == 1.0
    assert paired_verdict_test(labels, a > 1, a > 1, f1_of, permutations=200).p == 1.0


@pytest.mark.parametrize(("form", "least"), [(AUPRC, 0.4), (RECALL, 0.15)])  # recall takes few values: it ties often
def test_the_null_is_rejected_as_often_as_promised(form, least):
    p = [paired_ranking_test(*pair_of_judges(60, seed), form, permutations=199).p for seed in range(200)]

    assert np.mean(np.array(p) <= 0.05) <= 0.09  # 5% of 200 and nearly three standard errors
    assert least < np.mean(np.array(p) <= 0.5) < 0.6


def test_copies_of_whole_templates_are_no_evidence():
    """Cases that say the same ten times over look like evidence when they are swapped one by one."""
    rejected = {"grouped": 0, "single": 0}
    for seed in range(60):
        labels, a, b = (np.repeat(part, 10) for part in pair_of_judges(12, seed))
        groups = np.repeat(np.arange(12), 10)
        flagged = a > 0.75, b > 0.75
        rejected["grouped"] += paired_verdict_test(labels, *flagged, f1_of, groups=groups, permutations=199).p <= 0.05
        rejected["single"] += paired_verdict_test(labels, *flagged, f1_of, permutations=199).p <= 0.05
    assert rejected["grouped"] <= 7
    assert rejected["single"] >= 20


def test_a_real_difference_is_found():
    labels, a, b = pair_of_judges(200, 0, lift=2.0)
    assert paired_ranking_test(labels, a, b, AUPRC, permutations=500).p < 0.01


@settings(max_examples=40, deadline=None)
@given(gained=st.integers(0, 40), lost=st.integers(0, 40), both=st.integers(0, 5))
def test_mcnemar_is_the_binomial_test_of_the_discordant_cases(gained, lost, both):
    a = np.array([True] * (lost + both) + [False] * gained, dtype=bool)
    b = np.array([False] * lost + [True] * (both + gained), dtype=bool)
    tested = mcnemar(a, b)

    assert (tested.gained, tested.lost, tested.cases) == (gained, lost, gained + lost + both)
    assert (tested.right_a, tested.right_b) == (lost + both, gained + both)
    throws = gained + lost
    assert tested.p == pytest.approx(binomtest(gained, throws).pvalue if throws else 1.0)
    assert tested.p_loss == pytest.approx(binomtest(lost, throws, alternative="greater").pvalue if throws else 1.0)
    assert tested.mid_p <= tested.p
    if gained != lost:
        exactly = math.comb(throws, gained) / 2**throws
        assert tested.mid_p == pytest.approx(tested.p - exactly)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx((0.03, 0.06, 0.06, 0.02))
    assert holm([0.6, 0.7]) == (1.0, 1.0)
    assert holm([]) == ()


def test_holm_leaves_undefined_p_values_out_of_the_family():
    adjusted = holm([math.nan, 0.02, 0.04])
    assert math.isnan(adjusted[0])
    assert adjusted[1:] == pytest.approx((0.04, 0.04))


@given(p=st.lists(st.floats(0, 1), max_size=8))
def test_holm_rejects_what_the_step_down_procedure_rejects(p):
    order = sorted(range(len(p)), key=p.__getitem__)
    rejected = set(
        itertools.chain(
            *itertools.takewhile(
                lambda step: p[step[0]] * (len(p) - order.index(step[0])) <= 0.05, ([i] for i in order)
            )
        )
    )
    assert {i for i, adjusted in enumerate(holm(p)) if adjusted <= 0.05} == rejected


@pytest.mark.parametrize("wrong", ["labels", "groups", "permutations"])
def test_what_does_not_fit_is_refused(wrong):
    labels, a, b = pair_of_judges(10)
    changes = {"groups": {"groups": ["g"]}, "permutations": {"permutations": 0}}.get(wrong, {})
    with pytest.raises(ValueError, match=r"shape|permutations"):
        paired_ranking_test(labels[:9] if wrong == "labels" else labels, a, b, AUPRC, **changes)
    with pytest.raises(ValueError, match="shape"):
        mcnemar(labels, labels[:3])
