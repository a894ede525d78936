"""Workloads have the lengths that were asked for, and share what they should."""

from __future__ import annotations

import pytest

from promptopt.bench.flops import trie_spans
from promptopt.bench.workload import Cell, make_workload
from promptopt.engines.local import LocalEngine, LocalEngineSettings
from promptopt.errors import EngineError


@pytest.mark.parametrize("variants", [1, 4])
def test_lengths_are_met_to_the_token(tiny, work_of, variants):
    work = work_of(tiny, prefix=200, item=16, variants=variants)
    assert {len(judgement.prefix) for judgement in work.judgements} == {200}
    frame = {len(judgement.rest) - 16 for judgement in work.judgements}
    assert len(frame) == 1  # what the template puts behind the case


def test_variants_share_three_quarters_of_the_prefix_and_judge_the_same_cases(tiny, work_of):
    work = work_of(tiny, prefix=200, variants=4)
    prefixes = [judgement.prefix for judgement in work.judgements[:4]]
    computed = sum(stop - start for start, stop in trie_spans(prefixes))
    assert computed == pytest.approx(150 + 4 * 50, abs=4 * 4)  # texts may go on alike for a token or two
    assert len(set(prefixes)) == 4
    assert [judgement.variant for judgement in work.judgements[:8]] == [0, 1, 2, 3] * 2
    texts = [judgement.text for judgement in work.judgements]
    assert all(len(set(texts[i : i + 4])) == 1 for i in range(0, len(texts), 4))


def test_tokens_are_those_that_the_engine_counts(tiny, work_of):
    work = work_of(tiny, variants=3, cases=30)
    engine = LocalEngine(LocalEngineSettings("tiny", device="cpu", dtype="float32"), tiny)
    usage = engine.score([judgement.query for judgement in work.judgements]).usage
    assert usage.tokens_submitted == sum(len(judgement.tokens) for judgement in work.judgements)


def test_the_labels_begin_with_different_tokens(tiny, work_of):
    first, second = work_of(tiny).label_tokens
    assert first != second


def test_a_prefix_longer_than_the_context_is_refused(tiny, work_of):
    with pytest.raises(EngineError, match=r"2,\d{3} tokens with the chat template, and the model reads 1,024; choose"):
        work_of(tiny, prefix=2048)


def test_a_prefix_shorter_than_the_template_is_refused(tiny):
    with pytest.raises(EngineError, match="--prefix: a prefix of 5 tokens is too short"):
        make_workload(tiny.tokenizer, Cell(5, 12, 1), 10, 1024)
