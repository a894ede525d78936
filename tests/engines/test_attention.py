"""Partial attentions against a plain softmax, and the signatures of the CUDA kernels that no test machine may have."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt.engines import attention
from promptopt.engines.plans import PrefixSpan, TreePlan, tree_plan

SIZE, KV_HEADS, SHARED = 8, 2, 2
CPU = torch.device("cpu")


def _plain(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, scale: float) -> torch.Tensor:
    """One token of one head: (size,)."""
    return torch.softmax(keys @ query * scale, 0) @ values


@pytest.mark.parametrize("tokens", [1, 7])
def test_the_plain_path_computes_what_the_kernel_computes(tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_SCORE_ELEMENTS", 40)  # several stretches
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(KV_HEADS, 13, SIZE, generator=generator)
    key, value = (torch.randn(KV_HEADS, tokens, SIZE, generator=generator) for _ in range(2))
    out, lse = attention.over_prefix(query, key, value, 0.3)
    plain, plain_lse = attention.over_prefix_plainly(query, key, value, 0.3)
    assert torch.allclose(out, plain, atol=1e-5)
    assert torch.allclose(lse, plain_lse, atol=1e-5)


@pytest.mark.parametrize(("dtype", "size"), [(torch.bfloat16, 128), (torch.float16, 64), (torch.float32, 64)])
def test_cuda_kernels_take_what_they_are_given(dtype: torch.dtype, size: int) -> None:
    """On the meta device, which checks arguments and tells shapes."""
    query = torch.empty(8, 96, size, device="meta", dtype=dtype)
    key = torch.empty(8, 2000, size, device="meta", dtype=dtype)
    out, lse = attention.over_prefix(query, key, key, 0.1)
    assert out.shape == (8, 96, size)
    assert lse.shape == (8, 96)
    assert lse.dtype == torch.float32


row = st.lists(st.integers(0, 20), min_size=1, max_size=6).map(
    lambda marks: [min(m, i) - 1 for i, m in enumerate(marks)]
)


@settings(deadline=None, max_examples=40)
@given(st.lists(row, min_size=1, max_size=6), st.integers(0, 3), st.integers(0, 5))
def test_every_token_attends_to_its_spans_and_its_ancestors(rows: list[list[int]], spans: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tokens = sum(map(len, rows))
    query = torch.randn(1, KV_HEADS * SHARED, tokens, SIZE, generator=generator)
    key, value = (torch.randn(1, KV_HEADS, tokens, SIZE, generator=generator) for _ in range(2))
    cuts = sorted(int(x) for x in torch.randint(0, tokens + 1, (2 * spans,), generator=generator))
    found = [
        PrefixSpan(a, b, [tuple(torch.randn(KV_HEADS, 4, SIZE, generator=generator) for _ in range(2))])  # type: ignore[list-item]
        for a, b in zip(cuts[::2], cuts[1::2], strict=True)
        if a < b
    ]
    found += [PrefixSpan(0, tokens, span.layers) for span in found[:1]]  # nested in one that covers everything
    plan: TreePlan = tree_plan(rows, found, CPU)
    token = attention.ACTIVE_PLAN.set(plan)
    try:
        module = torch.nn.Module()
        module.layer_idx = 0  # type: ignore[assignment]
        out, _ = attention.tree_attention(module, query, key, value, None, scaling=0.4)
    finally:
        attention.ACTIVE_PLAN.reset(token)
    start = 0
    for parents in rows:
        for node in range(len(parents)):
            at, seen = start + node, []
            while node >= 0:
                seen.append(start + node)
                node = parents[node]
            for head in range(KV_HEADS * SHARED):
                kv = head // SHARED
                over = [span.layers[0] for span in found if span.start <= at < span.stop]
                keys = torch.cat([k[kv] for k, _ in over] + [key[0, kv, seen]])
                values = torch.cat([v[kv] for _, v in over] + [value[0, kv, seen]])
                expected = _plain(query[0, head, at], keys, values, 0.4)
                assert torch.allclose(out[0, at, head], expected, atol=1e-5)
        start += len(parents)
