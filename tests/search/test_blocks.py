"""Blocks and the demonstration pool: disjoint, complete, stratified, by whole groups."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.search.blocks import MIN_PER_LABEL, demo_pool, stratified_blocks

LABELS = st.lists(st.booleans(), min_size=1, max_size=60)


@given(LABELS, st.lists(st.integers(1, 20), max_size=3), st.integers(0, 3), st.randoms(use_true_random=False))
def test_blocks_hold_every_case_once_whatever_the_order(make_case, labels, sizes, seed, draw):
    cases = [make_case(i, violation) for i, violation in enumerate(labels)]
    blocks = stratified_blocks(cases, sizes, seed)
    assert Counter(case.id for block in blocks for case in block) == Counter(case.id for case in cases)
    assert all(blocks)
    assert [len(block) for block in blocks[:-1]] == sizes[: len(blocks) - 1]
    draw.shuffle(cases)
    assert stratified_blocks(cases, sizes, seed) == blocks


@given(st.integers(1, 50), st.integers(50, 200), st.integers(2, 40), st.integers(0, 5))
def test_the_first_block_can_tell_good_from_bad(make_case, rare, common, size, seed):
    cases = [make_case(i, i < rare) for i in range(rare + common)]
    first = stratified_blocks(cases, [size], seed)[0]
    assert len(first) == min(size, len(cases))
    violations = sum(case.is_violation for case in first)
    assert violations >= min(MIN_PER_LABEL, size // 2, rare)
    assert len(first) - violations >= min(MIN_PER_LABEL, size // 2)


@pytest.mark.parametrize("seed", range(5))
def test_blocks_mirror_labels_clauses_and_languages(make_case, seed):
    cases = [make_case(i, i % 4 == 0, language="de" if i % 5 == 0 else "en") for i in range(200)]
    for block in stratified_blocks(cases, [50, 50], seed):
        for part in (lambda c: c.is_violation, lambda c: c.language, lambda c: c.clause):
            whole, here = Counter(map(part, cases)), Counter(map(part, block))
            for key, count in whole.items():
                assert abs(here[key] - count * len(block) / len(cases)) <= 4


def test_another_seed_gives_other_blocks(make_case):
    cases = [make_case(i, i % 2 == 0) for i in range(60)]
    assert len({stratified_blocks(cases, [20], seed)[0] for seed in range(5)}) == 5


@given(st.lists(st.tuples(st.integers(0, 12), st.booleans()), max_size=40), st.integers(0, 30), st.integers(0, 3))
def test_the_pool_takes_whole_groups(make_case, entries, size, seed):
    cases = [make_case(i, yes, group=f"g{group}") for i, (group, yes) in enumerate(entries)]
    pool, rest = demo_pool(cases, size, seed)
    assert sorted([*pool, *rest], key=lambda c: c.id) == cases
    assert not {c.group for c in pool} & {c.group for c in rest}
    assert len(pool) >= min(size, len(cases))
    largest = max(Counter(c.group for c in cases).values(), default=0)
    assert len(pool) < size + largest or not pool
    assert demo_pool(cases, size, seed) == (pool, rest)
    if not size:
        assert not pool


def test_groups_with_both_labels_are_taken_first(make_case):
    cases = [make_case(i, i % 2 == 0, group=f"g{i // 2 if i < 20 else i}") for i in range(60)]
    pool, _ = demo_pool(cases, 20, 0)
    assert {case.id for case in pool} == {f"c{i:03d}" for i in range(20)}
