"""Demonstrations: balanced, from the pool only, the same for the same draw."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.core.case import CaseKind
from promptopt.policy.model import Policy
from promptopt.search.demonstrations import boundary_cases, choose_demos
from promptopt.search.space import DemoChoice, DemoOrder

CHOICES = st.sampled_from(get_args(DemoChoice))
ORDERS = st.sampled_from(get_args(DemoOrder))


@st.composite
def pools(draw):
    """Labels, pair names and kinds of a pool."""
    entry = st.tuples(st.booleans(), st.sampled_from([None, "p1", "p2"]), st.sampled_from(CaseKind))
    return draw(st.lists(entry, max_size=12))


@given(pools(), st.integers(0, 14), CHOICES, ORDERS, st.integers(0, 9), st.randoms(use_true_random=False))
def test_balanced_distinct_from_the_pool_and_reproducible(make_case, entries, count, choice, order, seed, draw):
    pool = [make_case(i, yes, pair=pair, kind=kind) for i, (yes, pair, kind) in enumerate(entries)]
    shown = choose_demos(pool, count, choice, order, seed)
    assert len(shown) == min(count, len(pool))
    assert len({case.id for case in shown}) == len(shown)
    assert set(shown) <= set(pool)
    violations = sum(case.is_violation for case in shown)
    available = sum(case.is_violation for case in pool)
    balanced = min((count + 1) // 2, available)
    short = max(0, count // 2 - (len(pool) - available))
    assert violations == min(available, balanced + short)
    draw.shuffle(pool)
    assert choose_demos(pool, count, choice, order, seed) == shown, "the order of the pool does not matter"


def _labels(cases):
    return "".join("V" if case.is_violation else "a" for case in cases)


def test_orders(make_case):
    pool = [make_case(i, i < 3) for i in range(6)]
    assert _labels(choose_demos(pool, 5, "balanced", "alternating", 0)) == "VaVaV"
    assert _labels(choose_demos(pool, 5, "balanced", "violations_first", 0)) == "VVVaa"
    assert _labels(choose_demos(pool, 5, "balanced", "allowed_first", 0)) == "aaVVV"


@pytest.mark.parametrize("seed", range(8))
def test_contrast_shows_both_halves_of_a_pair_side_by_side(make_case, seed):
    pool = [make_case(i, True, pair=f"p{i}") for i in range(4)]
    pool += [make_case(10 + i, False, pair=f"p{i}") for i in (1, 3)]
    pool += [make_case(20 + i, False) for i in range(4)]
    shown = choose_demos(pool, 6, "contrast", "alternating", seed)
    assert [case.pair for case in shown[:4]] in (["p1", "p1", "p3", "p3"], ["p3", "p3", "p1", "p1"])
    assert _labels(shown) == "VaVaVa"


def test_clauses_go_round(make_case):
    pool = [make_case(i, True, clause="V1") for i in range(5)] + [make_case(9, True, clause="V2")]
    pool += [make_case(20 + i, False, clause=clause) for i, clause in enumerate([None, None, "V3"])]
    for seed in range(5):
        shown = choose_demos(pool, 4, "clauses", "violations_first", seed)
        assert {case.clause for case in shown} == {"V1", "V2", "V3", None}


def test_hard_negatives_come_first(make_case):
    pool = [make_case(i, i % 2 == 0) for i in range(8)]
    pool += [make_case(10 + i, False, kind=CaseKind.HARD_NEGATIVE) for i in range(2)]
    for seed in range(5):
        shown = choose_demos(pool, 4, "hard", "allowed_first", seed)
        assert [case.kind for case in shown[:2]] == [CaseKind.HARD_NEGATIVE] * 2


def test_draws_differ(make_case):
    pool = [make_case(i, i % 2 == 0) for i in range(20)]
    assert len({choose_demos(pool, 4, "balanced", "alternating", seed) for seed in range(10)}) > 5


def test_central_cases_are_those_most_like_the_rest_of_their_label(make_case):
    pool = [make_case(i, True, text=f"they should all leave this town {word}") for i, word in enumerate("abc")]
    pool += [make_case(7, True, text="zzzz qqqq xxxx"), make_case(8, False, text="a kind word"), make_case(9, False)]
    for seed in range(5):
        shown = choose_demos(pool, 6, "central", "violations_first", seed)
        assert shown[3].id == "c007", "the odd one out comes last of the violations"


def test_boundary_cases_say_what_the_policy_says(policy):
    example = {"text": "on the line", "why": "because"}
    examples = [{**example, "label": "violation", "clause": "V2"}, {**example, "label": "allowed"}]
    data = {**policy.model_dump(mode="json"), "boundary_examples": examples}
    first, second = boundary_cases(Policy.model_validate(data))
    assert (first.id, first.text, first.clause, first.severity, first.is_violation) == (
        "boundary-1",
        "on the line",
        "V2",
        3,
        True,
    )
    assert (second.id, second.severity, second.is_violation) == ("boundary-2", 0, False)
    assert boundary_cases(policy) == ()
