from __future__ import annotations

from itertools import pairwise

import torch
from hypothesis import given
from hypothesis import strategies as st

from promptopt.engines.plans import LayerKV
from promptopt.engines.prefix_cache import PrefixCache, PrefixPiece
from promptopt.engines.prefixes import (
    MAX_PIECE_TOKENS,
    MIN_PIECE_TOKENS,
    Prefix,
    cut_prefix,
    edge_count,
    parting_points,
)
from promptopt.engines.tokenization import TokenIds

stretches = st.lists(st.integers(0, 700).map(lambda n: tuple(range(n))), max_size=8)
short = st.lists(st.integers(0, 2), max_size=10).map(tuple)
prefixes = st.lists(
    st.tuples(short, st.sets(st.integers(1, 9), max_size=3)).map(
        lambda p: Prefix(p[0], tuple(sorted({c for c in p[1] if c < len(p[0])} | ({len(p[0])} if p[0] else set()))))
    ),
    max_size=12,
)


@given(stretches)
def test_cutting_loses_nothing(parts: list[TokenIds]) -> None:
    prefix = cut_prefix(parts)
    assert prefix.tokens == tuple(t for part in parts for t in part)
    sizes = [end - start for start, end in zip((0, *prefix.cuts), prefix.cuts, strict=False)]
    assert sum(sizes) == len(prefix)
    assert all(MIN_PIECE_TOKENS <= size <= MAX_PIECE_TOKENS for size in sizes[:-1])
    assert all(0 < size <= MAX_PIECE_TOKENS for size in sizes)


@given(stretches, stretches)
def test_prefixes_that_begin_alike_have_their_first_cuts_in_common(a: list[TokenIds], b: list[TokenIds]) -> None:
    common = [tuple(range(80))] * 3
    assert cut_prefix([*common, *a]).cuts[:3] == cut_prefix([*common, *b]).cuts[:3] == (80, 160, 240)


@given(st.lists(short, max_size=12))
def test_parting_points(tokens: list[TokenIds]) -> None:
    found = parting_points(tokens)
    assert list(found) == sorted(set(tokens))
    for one in found:
        expected = set()
        for other in set(tokens) - {one}:
            shared = next((i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), None)
            expected.add(min(len(one), len(other)) if shared is None else shared)
        assert set(found[one]) == expected - {0}


@given(st.lists(short, max_size=12))
def test_the_edges_of_a_trie_are_its_distinct_beginnings(tokens: list[TokenIds]) -> None:
    assert edge_count(tokens) == len({t[:n] for t in tokens for n in range(1, len(t) + 1)})


def _layers(tokens: int) -> list[LayerKV]:
    return [(torch.zeros(1, tokens, 2), torch.zeros(1, tokens, 2))]


def _resident(cache: PrefixCache, wanted: list[Prefix]) -> tuple[list[list[PrefixPiece]], int]:
    """Paths of prefixes in flight together, all computed, and the tokens that this took."""
    parts = parting_points(p.tokens for p in wanted)
    by_tokens = {p.tokens: p for p in wanted}
    paths, computed = [], 0
    for tokens in parts:
        path = cache.pieces(by_tokens[tokens], parts[tokens])
        for piece in path:
            if not piece.layers:
                computed += len(piece.tokens)
                cache.put(piece, _layers(len(piece.tokens)), torch.zeros(2))
        paths.append(path)
    return paths, computed


@given(prefixes)
def test_what_prefixes_in_flight_share_is_computed_once(wanted: list[Prefix]) -> None:
    cache = PrefixCache(1 << 20)
    paths, computed = _resident(cache, wanted)
    assert computed == edge_count(p.tokens for p in wanted)
    for tokens, path in zip(sorted({p.tokens for p in wanted}), paths, strict=True):
        assert tuple(t for piece in path for t in piece.tokens) == tokens
        assert all(a is b.parent for a, b in pairwise(path))
        assert all(piece.start == sum(len(p.tokens) for p in path[:i]) for i, piece in enumerate(path))
    assert _resident(cache, wanted)[1] == 0, "what is resident is computed again"


@given(prefixes, prefixes, st.integers(0, 200))
def test_the_cache_keeps_its_budget_and_what_is_in_use(first: list[Prefix], then: list[Prefix], budget: int) -> None:
    cache = PrefixCache(budget)
    _resident(cache, first)
    cache.shrink()
    assert cache.size_bytes <= budget
    paths, _ = _resident(cache, then)
    cache.shrink([path[-1] for path in paths if path])
    held = {id(piece): piece.size_bytes for path in paths for piece in path}
    assert cache.size_bytes <= max(budget, sum(held.values()))
    assert _resident(cache, then)[1] == 0, "a piece in use was dropped"
    cache.shrink(budget_bytes=0)
    assert cache.size_bytes == 0
