"""Splits keep groups whole, shares close, strata even, and depend on nothing but cases and seed."""

from __future__ import annotations

from collections import Counter, defaultdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.core.case import Split
from promptopt.errors import GoldenSetError
from promptopt.golden.splits import assign_splits

GROUPED = st.lists(st.tuples(st.integers(0, 15), st.booleans()), min_size=1, max_size=60)


def build(make_case, rows):
    return [make_case(n, violation, group=f"g{group}", text="t") for n, (group, violation) in enumerate(rows)]


def by_split(cases):
    parts = defaultdict(list)
    for case in cases:
        parts[case.split].append(case)
    return parts


@given(GROUPED, st.integers(0, 5), st.randoms())
def test_groups_stay_whole_and_order_does_not_matter(make_case, rows, seed, shuffler):
    cases = build(make_case, rows)
    placed = assign_splits(cases, seed=seed)
    assert [c.id for c in placed] == [c.id for c in cases]
    homes = defaultdict(set)
    for case in placed:
        assert case.split is not None
        homes[case.group].add(case.split)
    assert all(len(splits) == 1 for splits in homes.values())
    shuffled = list(cases)
    shuffler.shuffle(shuffled)
    assert {c.id: c.split for c in assign_splits(shuffled, seed=seed)} == {c.id: c.split for c in placed}


@given(GROUPED, st.integers(0, 5))
def test_assigning_again_changes_nothing(make_case, rows, seed):
    placed = assign_splits(build(make_case, rows), seed=seed)
    assert assign_splits(placed, seed=seed) == placed


@pytest.mark.parametrize("seed", range(5))
def test_an_authored_set_has_the_promised_sizes_and_even_strata(make_case, seed):
    cases = [
        make_case(n, n % 2 == 0, group=f"g{n // 3}", clause=f"X{n % 8}", language="de" if n % 13 == 0 else "en")
        for n in range(256)
    ]
    parts = by_split(assign_splits(cases, seed=seed))
    for split, size in ((Split.SEARCH, 107), (Split.CALIBRATION, 64), (Split.TEST, 85)):
        assert abs(len(parts[split]) - size) <= 4
        assert abs(sum(c.is_violation for c in parts[split]) / len(parts[split]) - 0.5) < 0.05
        assert set(Counter(c.clause for c in parts[split])) == {f"X{i}" for i in range(8)}
        assert abs(sum(c.language == "de" for c in parts[split]) - size / 13) <= 3


def test_rare_violations_reach_every_split(make_case):
    cases = [make_case(n, n < 3) for n in range(300)]
    assert all(any(c.is_violation for c in part) for part in by_split(assign_splits(cases)).values())


def test_the_seed_changes_the_splits(make_case):
    cases = [make_case(n, n % 2 == 0) for n in range(100)]
    assert assign_splits(cases, seed=1) != assign_splits(cases, seed=2)


@pytest.mark.parametrize(
    "fractions",
    [{}, {"search": 1.0}, {"search": 0.5, "calibration": 0.5, "test": 0.5}, {"search": 1, "calibration": 0, "test": 0}],
)
def test_unfit_fractions_are_refused(fractions, toy_cases):
    with pytest.raises(GoldenSetError, match="fractions"):
        assign_splits(toy_cases, fractions=fractions)


def test_no_cases_no_splits():
    assert assign_splits([]) == ()
