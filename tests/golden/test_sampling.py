"""Samples are proportional, seeded, and spread over groups."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from promptopt.golden.sampling import sample_cases


@given(st.integers(1, 80), st.integers(0, 3), st.randoms())
def test_exact_size_in_proportion_whatever_the_order(make_case, limit, seed, shuffler):
    cases = [make_case(n, n % 4 == 0, text="t", language="de" if n % 5 == 0 else "en") for n in range(60)]
    sample = sample_cases(cases, limit, seed)
    assert len(sample) == min(limit, 60)
    share = Counter(c.label for c in sample)["violation"] / len(sample)
    assert abs(share * len(sample) - 0.25 * len(sample)) <= 2
    shuffled = list(cases)
    shuffler.shuffle(shuffled)
    assert {c.id for c in sample_cases(shuffled, limit, seed)} == {c.id for c in sample}


def test_one_of_each_group_before_the_second_of_any(make_case):
    cases = [make_case(n, True, text="t", group=f"g{n // 10}") for n in range(60)]
    assert len({c.group for c in sample_cases(cases, 6)}) == 6


def test_the_seed_changes_the_sample(make_case):
    cases = [make_case(n, True, text="t") for n in range(60)]
    assert sample_cases(cases, 20, 1) != sample_cases(cases, 20, 2)
