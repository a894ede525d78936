"""Attention of token trees over shared prefixes by FlashAttention's kernels: the path of half precision on CUDA.

Where no row branches, one kernel computes all rows among themselves without padding, and one the queries of each
stretch of a prefix; query heads that share a key-value head read it in place. Tensors keep the order in which the
model's projections write and read them, (tokens, heads, head size), so that nothing is copied on the way.

Source: Dao, "FlashAttention-2: faster attention with better parallelism and work partitioning" (2023, arXiv
2307.08691).
"""

from __future__ import annotations

from functools import cache

import torch

from promptopt.engines.plans import Chains, TreePlan

_LARGEST_HEAD = 256
_OLDEST_CARDS = (8, 0)  # compute capability: Ampere


def serves(device: torch.device, dtype: torch.dtype, head_size: int) -> bool:
    """True where there is a CUDA card whose kernels compute attention of such numbers."""
    return device.type == "cuda" and takes(device, dtype, head_size)


def takes(device: torch.device, dtype: torch.dtype, head_size: int) -> bool:
    """True for the formats and sizes that the kernels are made for, unless the device is too old a card for them."""
    half = dtype in (torch.float16, torch.bfloat16)
    return half and head_size % 8 == 0 and head_size <= _LARGEST_HEAD and _is_recent(device)


@cache
def _is_recent(device: torch.device) -> bool:
    return device.type != "cuda" or torch.cuda.get_device_capability(device) >= _OLDEST_CARDS


def chain_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, plan: TreePlan, layer: int, scale: float
) -> torch.Tensor:
    """Attention of rows that do not branch to their spans and to themselves.

    Args:
        query: (tokens, heads, head size).
        key: (tokens, kv heads, head size).
        value: Same shape as ``key``.
        plan: Has chains.
        layer: Which layer's keys and values of the spans to read.
        scale: Factor on the scores.

    Returns:
        (tokens, heads, head size).

    Raises:
        ValueError: The plan has no chains.
    """
    if plan.chains is None:
        raise ValueError("the plan has no chains")
    out, lse = _over_chains(query, key, value, plan.chains, scale)
    for span in plan.spans:
        own, own_lse = out[span.start : span.stop], lse[:, span.start : span.stop]
        over, over_lse = _over_stretch(query[span.start : span.stop], *span.layers[layer], scale)
        weight = torch.sigmoid(over_lse - own_lse).transpose(0, 1).unsqueeze(-1)
        own.lerp_(over, weight.to(out.dtype))
        torch.logaddexp(own_lse, over_lse, out=own_lse)
    return out


def _over_chains(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, chains: Chains, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Causal attention within rows: outputs like the queries and float32 log-sum-exp (heads, tokens)."""
    ends, longest = chains.ends, chains.longest
    out, lse = torch.ops.aten._flash_attention_forward(
        query, key, value, ends, ends, longest, longest, 0.0, True, False, scale=scale
    )[:2]
    return out, lse


def _over_stretch(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unmasked attention to keys and values of shape (kv heads, stretch tokens, head size); returns as above."""
    q, k, v = query.unsqueeze(0), key.transpose(0, 1).unsqueeze(0), value.transpose(0, 1).unsqueeze(0)
    out, lse = torch.ops.aten._flash_attention_forward(
        q, k, v, None, None, q.shape[1], k.shape[1], 0.0, False, False, scale=scale
    )[:2]
    return out[0], lse[0, :, : len(query)]
