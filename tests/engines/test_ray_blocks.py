from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.engines.ray.blocks import Block, Homes, Queues, cut_blocks, even_blocks
from promptopt.testing.engine import query

PROMPTS = ("Judge.", "Judge with care.", "Judge as the policy says, and nothing else.")
ASKS = ("\nDoes rule 1 apply?", "\nDoes rule 2 apply? Think of exceptions.")
CASES = st.lists(
    st.tuples(st.sampled_from(PROMPTS), st.integers(0, 9), st.sampled_from(ASKS)), min_size=0, max_size=120
)


def _texts(cases: Sequence[tuple[str, int, str]]):  # type: ignore[no-untyped-def]
    return [query(f"text {number} " * number, policy=policy, ask=ask).segments for policy, number, ask in cases]


def _one_prompt(cases: int, prompt: str = PROMPTS[0]):  # type: ignore[no-untyped-def]
    return _texts([(prompt, number % 10, f"{number}") for number in range(cases)])


@given(CASES, st.integers(1, 5), st.integers(1, 20), st.integers(20, 60))
def test_every_row_is_in_one_block_with_its_prefix_and_its_case(cases, actors, least, most) -> None:
    texts = _texts(cases)
    blocks = cut_blocks(texts, actors, least, most)
    assert sorted(row for block in blocks for row in block.rows) == list(range(len(texts)))
    home = {row: i for i, block in enumerate(blocks) for row in block.rows}
    for block in blocks:
        assert len({texts[row][:2] for row in block.rows}) == 1
        assert len(block.rows) <= most or len(block.groups) == 1
    for a, first in enumerate(texts):
        for b, second in enumerate(texts):
            if first[:3] == second[:3]:
                assert home[a] == home[b], "the questions about one case are in two blocks"


@given(CASES, st.integers(1, 5))
def test_cutting_depends_on_nothing_else(cases, actors) -> None:
    once, again = (cut_blocks(_texts(cases), actors) for _ in range(2))
    assert [block.groups for block in once] == [block.groups for block in again]


def test_one_prompt_gives_every_actor_work_and_small_blocks_at_the_end() -> None:
    texts = [query(f"case number {number:05d}").segments for number in range(4000)]
    sizes = [len(block.rows) for block in cut_blocks(texts, actors=4)]
    assert max(sizes) == sizes[0] == 256
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-2] == 16
    assert len(sizes) < 60


@given(CASES, st.integers(1, 5))
def test_even_blocks_hold_every_request_once(cases, actors) -> None:
    texts = _texts(cases)
    blocks = even_blocks(texts, actors, most=30)
    assert sorted(row for block in blocks for row in block.rows) == list(range(len(texts)))
    assert len(blocks) >= min(actors, len({text[:3] for text in texts}))
    assert all(len(block.groups) <= 30 for block in blocks)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=30))
def test_halves_shrink_to_single_queries(sizes) -> None:
    rows = iter(range(sum(sizes)))
    todo = [Block(tuple(tuple(next(rows) for _ in range(n)) for n in sizes), 0, 10, 100)]
    seen = []
    while todo:
        block = todo.pop()
        if len(block.rows) == 1:
            seen += block.rows
            continue
        halves = block.halves()
        assert all(0 < len(half.rows) < len(block.rows) for half in halves)
        assert len(block.groups) == 1 or {g for h in halves for g in h.groups} == set(block.groups)
        todo += halves
    assert sorted(seen) == list(range(sum(sizes)))


def test_a_single_query_needs_two_deaths_of_its_own() -> None:
    first, second = Block(((0,), (1,), (2,)), 0, 0, 9, deaths=2).halves()
    assert (first.rows, first.deaths) == ([0], 0)
    assert (second.rows, second.deaths) == ([1, 2], 1)


def _homes_of(homes: Homes, texts) -> dict[int, int]:  # type: ignore[no-untyped-def]
    queues = homes.assign(cut_blocks(texts, len(homes.assign([]))))
    return {block.prefix: actor for actor, queue in enumerate(queues) for block in queue}


def test_prompts_are_spread_and_stay_where_they_are() -> None:
    homes = Homes(3)
    texts = [segments for prompt in PROMPTS for segments in _one_prompt(40, prompt)]
    found = _homes_of(homes, texts)
    assert sorted(found.values()) == [0, 1, 2]
    assert _homes_of(homes, texts[40:]) == {p: a for p, a in found.items() if a != found[hash(texts[0][:2])]}


def test_prompts_that_come_one_by_one_are_spread_too() -> None:
    homes = Homes(3)
    assert sorted(next(iter(_homes_of(homes, _one_prompt(9, p)).values())) for p in PROMPTS) == [0, 1, 2]


@pytest.mark.parametrize("actors", [1, 2, 5])
def test_all_blocks_are_taken_once_whoever_is_idle(actors: int) -> None:
    texts = [segments for prompt in PROMPTS for segments in _one_prompt(200, prompt)]
    queues = Queues(Homes(actors), cut_blocks(texts, actors))
    taken = []
    while blocks := [block for actor in range(actors) if (block := queues.take(actor))]:
        taken += [row for block in blocks for row in block.rows]
    assert sorted(taken) == list(range(len(texts)))


def test_an_idle_actor_steals_when_the_rest_is_worth_the_prefix() -> None:
    prompt = "Judge. " * 100
    long_queue = Queues(Homes(2), cut_blocks(_one_prompt(200, prompt), 2))
    assert long_queue.take(0)
    assert long_queue.take(1)
    short_queue = Queues(Homes(2), cut_blocks(_one_prompt(4, prompt), 2, least=2))
    assert short_queue.take(0)
    assert short_queue.take(1) is None


def test_blocks_of_a_lost_actor_go_to_anyone_and_suspects_come_last() -> None:
    blocks = [Block(((i,),), prefix=7, prefix_cost=1000, cost=10) for i in range(4)]
    queues = Queues(Homes(2), blocks)
    begun, behind = queues.take(0), queues.take_ahead(0)
    assert begun is blocks[0]
    assert behind is blocks[1]
    queues.lose(0, [behind])
    queues.suspect(begun)
    assert [queues.take(1) for _ in range(5)] == [blocks[1], blocks[2], blocks[3], blocks[0], None]
