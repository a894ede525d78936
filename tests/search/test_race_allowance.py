"""A race's budget lasts to the last case: what the next block may cost."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from promptopt.search.race_allowance import affordable, dearest, first_block_carried

COSTS = st.lists(st.integers(1, 6), min_size=1, max_size=20)
BLOCKS = st.lists(st.integers(1, 50), min_size=1, max_size=8)


def test_the_finalists_are_reckoned_as_the_dearest():
    assert dearest([1, 5, 2, 3], finalists=2) == 8


@given(COSTS, st.integers(1, 5), st.integers(0, 5_000), st.integers(1, 300))
def test_after_the_largest_first_block_the_finalists_reach_the_last_case(costs, finalists, allowance, cases):
    carried = first_block_carried(costs, finalists, allowance, cases)
    if carried is None:
        assert len(costs) <= finalists
    else:
        final = dearest(costs, finalists)
        spent = sum(costs) * carried + final * (cases - carried)
        assert spent <= allowance < spent + sum(costs) - final, "one case more does not fit"


@given(COSTS, st.integers(1, 5), st.integers(0, 5_000), BLOCKS)
def test_a_block_costs_no_more_than_the_field_and_no_less_than_the_finalists(costs, finalists, left, blocks):
    room = affordable(costs, finalists, left, blocks)
    assert dearest(costs, finalists) <= room <= sum(costs)
    if sum(costs) * sum(blocks) <= left:
        assert room == sum(costs)


@given(COSTS, st.integers(1, 5), st.integers(0, 5_000), BLOCKS)
def test_what_is_spent_block_by_block_stays_within_what_is_left(costs, finalists, left, blocks):
    least = dearest(costs, finalists)
    field = list(costs)
    spent = 0
    for i in range(len(blocks)):
        room = affordable(field, finalists, left - spent, blocks[i:])
        while sum(field) > room + 1e-6:
            field.remove(min(field))  # the finalists that remain are the dearest, the worst case
        spent += sum(field) * blocks[i]
    assert spent <= max(left, least * sum(blocks)) + 1e-6


@pytest.mark.parametrize("left", [0, 100])
def test_too_little_still_leaves_room_for_the_finalists(left):
    assert affordable([1] * 10, 2, left, [100, 100]) == 2
