"""Counts of operations and trie edges, against counts by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.bench.flops import ModelShape, count_work, trie_spans

SHAPE = ModelShape(layers=2, heads=3, head_dim=5, linear_parameters=100)
SEQUENCES = st.lists(st.lists(st.integers(0, 2), max_size=6), max_size=8)


def test_operations_of_a_whole_sequence_are_those_counted_by_hand():
    # Linear: 2 x 100 for each of 3 tokens. Attention: 4 x 2 layers x 3 heads x 5 channels for 1 + 2 + 3 tokens.
    assert SHAPE.flops(0, 3) == 600 + 120 * 6


def test_operations_after_a_prefix_are_those_counted_by_hand():
    assert SHAPE.flops(2, 3) == 200 + 120 * 3


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_stretches_add_up(a, b, c):
    start, middle, stop = sorted((a, b, c))
    assert SHAPE.flops(start, stop) == SHAPE.flops(start, middle) + SHAPE.flops(middle, stop)


def test_shape_of_a_model_counts_the_decoder_without_embedding_and_head(tiny):
    attention = 64 * 64 + 2 * 64 * 32 + 64 * 64
    layer = attention + 3 * 64 * 96 + 2 * 64
    assert ModelShape.of(tiny.model) == ModelShape(layers=2, heads=4, head_dim=16, linear_parameters=2 * layer + 64)


@given(SEQUENCES)
def test_trie_spans_hold_every_distinct_beginning_once(sequences):
    nodes = {tuple(sequence[:i]) for sequence in sequences for i in range(1, len(sequence) + 1)}
    assert sum(stop - start for start, stop in trie_spans(sequences)) == len(nodes)


def test_work_that_shares_a_prefix_is_counted_by_hand():
    shared, other = (1, 2, 3, 4), (1, 2, 9)
    count = count_work(SHAPE, [(shared, (5,)), (shared, (6, 7)), (other, (5,))])
    assert count.judgements == 3
    assert count.tokens_submitted == 5 + 6 + 4
    assert count.trie_edges == 4 + 1 + 1 + 2 + 1
    assert count.full_flops == SHAPE.flops(0, 5) + SHAPE.flops(0, 6) + SHAPE.flops(0, 4)
    assert count.prefix_flops == SHAPE.flops(0, 4) + SHAPE.flops(2, 3)
    assert count.marginal_flops == SHAPE.flops(4, 5) + SHAPE.flops(4, 6) + SHAPE.flops(3, 4)


def test_ideal_ratios_are_quotients_of_operations():
    count = count_work(SHAPE, [((1, 2, 3), (4,))] * 10)
    assert count.ideal_marginal_ratio == pytest.approx(SHAPE.flops(0, 4) / SHAPE.flops(3, 4))
    assert count.ideal_ratio == pytest.approx(10 * SHAPE.flops(0, 4) / (SHAPE.flops(0, 3) + 10 * SHAPE.flops(3, 4)))


@pytest.mark.parametrize("sequences", [[], [((1, 2), ())]])
def test_work_without_judgements_is_refused(sequences):
    with pytest.raises(ValueError, match="tokens after its prefix"):
        count_work(SHAPE, sequences)
