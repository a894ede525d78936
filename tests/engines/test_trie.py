from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from promptopt.engines.batching import PreparedQuery, cut_batches, group_rows
from promptopt.engines.prefixes import cut_prefix
from promptopt.engines.tokenization import Stretch, TokenIds
from promptopt.engines.trie import TokenTree, add_label_steps
from promptopt.engines.truncation import fit, middle_out

ids = st.lists(st.integers(0, 3), max_size=12).map(tuple)
label_ids = st.lists(st.integers(0, 2), min_size=1, max_size=4).map(tuple)


def _path(tree: TokenTree, node: int) -> TokenIds:
    tokens: list[int] = []
    while node >= 0:
        tokens.append(tree.tokens[node])
        node = tree.parents[node]
    return tuple(tokens[::-1])


@given(st.lists(ids, min_size=1, max_size=20))
def test_a_tree_holds_each_prefix_once(walks: list[TokenIds]) -> None:
    tree = TokenTree()
    for walk in walks:
        assert _path(tree, tree.extend(-1, walk)) == walk
    assert len(tree) == len({walk[:n] for walk in walks for n in range(1, len(walk) + 1)})
    for node, parent in enumerate(tree.parents):
        assert parent < node
        assert tree.depths[node] == len(_path(tree, node)) - 1


@given(st.lists(label_ids, min_size=2, max_size=5, unique=True), st.randoms(use_true_random=False))
def test_label_probabilities_sum_to_one(labels: list[TokenIds], random: object) -> None:
    assume(not any(a != b and b[: len(a)] == a for a in labels for b in labels))
    tree = TokenTree()
    end = tree.extend(-1, (9, 9))
    steps = add_label_steps(tree, end, labels)
    shares: dict[tuple[int, TokenIds], dict[int, float]] = {}
    total = 0.0
    for label, path in zip(labels, steps, strict=True):
        p = 1.0
        for step in path:
            assert step.token in step.among
            assert len(step.among) > 1, "a decision without a choice"
            assert _path(tree, step.node)[2:] == label[: len(_path(tree, step.node)) - 2]
            weights = shares.setdefault((step.node, step.among), {t: random.random() + 0.1 for t in step.among})  # type: ignore[attr-defined]
            p *= weights[step.token] / sum(weights.values())
        total += p
    assert math.isclose(total, 1.0)


def test_labels_with_different_first_tokens_cost_no_token() -> None:
    tree = TokenTree()
    end = tree.extend(-1, (7,))
    add_label_steps(tree, end, [(1, 2, 3), (4,), (5, 6)])
    assert len(tree) == 1


stretches = st.lists(st.integers(0, 700), min_size=1, max_size=8).flatmap(
    lambda sizes: st.tuples(*(st.booleans().map(lambda case, n=n: Stretch(tuple(range(n)), case)) for n in sizes))
)


@given(st.lists(st.tuples(ids, ids, ids), min_size=1, max_size=30), st.integers(16, 64))
def test_batches_hold_every_query_once(parts: list[tuple[TokenIds, TokenIds, TokenIds]], limit: int) -> None:
    queries = [
        PreparedQuery(i, cut_prefix([prefix]), trunk, (*branch, 8), ((1,), (2,)))
        for i, (prefix, trunk, branch) in enumerate(parts)
    ]
    seen: list[int] = []
    order: list[TokenIds] = []
    for batch in cut_batches(group_rows(queries), limit):
        assert len(batch) == 1 or sum(len(row.tree) for row in batch) <= limit
        seen.extend(number for row in batch for number, _ in row.queries)
        order.extend(row.prefix.tokens for row in batch)
    assert order == sorted(order), "prefixes that begin alike are not neighbours"
    assert sorted(seen) == list(range(len(queries)))


@given(stretches, st.integers(1, 3000), st.integers(0, 300))
def test_what_fits_fits(parts: tuple[Stretch, ...], context: int, max_item_tokens: int) -> None:
    fitted = fit(parts, context=context, reserve=2, max_item_tokens=max_item_tokens, too_long="truncate")
    case = sum(len(s.ids) for s in parts if s.from_case)
    if isinstance(fitted, str):
        assert fitted
        return
    kept, dropped = fitted
    left = sum(len(s.ids) for s in kept if s.from_case)
    assert left + dropped == case
    assert sum(len(s.ids) for s in kept) + 2 <= context
    assert not max_item_tokens or left <= max_item_tokens
    assert [s for s in kept if not s.from_case] == [s for s in parts if not s.from_case]
    assert all(after.ids or not before.ids for before, after in zip(parts, kept, strict=True))


@pytest.mark.parametrize(
    ("keep", "expected"), [(4, (0, 1, 2, 9)), (1, (0,)), (8, (0, 1, 2, 3, 4, 5, 8, 9)), (10, tuple(range(10)))]
)
def test_the_middle_is_dropped(keep: int, expected: TokenIds) -> None:
    assert middle_out(tuple(range(10)), keep) == expected
