"""Attention of token trees over a shared prefix, in two parts merged by their log-sum-exp.

All queries of a batch are packed into one sequence without padding. Every token attends to the stretches of its prefix
(one matrix product per key-value head and stretch, for all rows that share the stretch) and to its own ancestors in its
row. Merging partial attentions by log-sum-exp is exact; the method is that of FlashDecoding and Hydragen (Juravsky et
al. 2024, arXiv 2402.05099), over a tree of prefixes.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

import torch

from promptopt.engines import flash
from promptopt.engines.plans import RowBucket, RowCache, TreePlan

NAME = "promptopt_tree"
_SCORE_ELEMENTS = 1 << 26  # float32 scores that the plain path holds at a time: 256 MiB


ACTIVE_PLAN: ContextVar[TreePlan] = ContextVar("active_tree_plan")


def tree_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention function in the form transformers' ``AttentionInterface`` takes.

    Args:
        module: The attention layer; only its ``layer_idx`` is read.
        query: (1, heads, tokens, head size).
        key: (1, kv heads, tokens, head size).
        value: Same shape as ``key``.
        attention_mask: Ignored: the active plan says who attends to whom.
        scaling: Factor on the scores; 1/sqrt(head size) when None.

    Returns:
        (1, tokens, heads, head size) and None for the weights.
    """
    plan = ACTIVE_PLAN.get()
    scale = scaling if scaling is not None else query.shape[-1] ** -0.5
    if plan.capture is not None:
        plan.capture.append((key[0].clone(), value[0].clone()))
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    if plan.chains is not None:
        q, k, v = (part[0].transpose(0, 1) for part in (query, key, value))
        return flash.chain_attention(q, k, v, plan, layer, scale).unsqueeze(0), None
    kv_heads, tokens, size = key.shape[1:]
    shared = query.shape[1] // kv_heads
    grouped = query[0].reshape(kv_heads, shared, tokens, size)
    if plan.rows is not None:
        out, lse = _over_rows(grouped, key[0], value[0], plan.rows, layer, scale)
    else:
        out, lse = _within_rows(grouped, key[0], value[0], plan, scale)
    for span in plan.spans:
        prefix_key, prefix_value = span.layers[layer]
        width = span.stop - span.start
        flat = grouped[:, :, span.start : span.stop].reshape(kv_heads, shared * width, size)
        over, over_lse = over_prefix(flat, prefix_key, prefix_value, scale)
        over = over.reshape(kv_heads, shared, width, size)
        over_lse = over_lse.reshape(kv_heads, shared, width)
        own, own_lse = out[:, :, span.start : span.stop], lse[:, :, span.start : span.stop]
        weight = torch.sigmoid(over_lse - own_lse).unsqueeze(-1).to(out.dtype)
        merged, merged_lse = torch.lerp(own, over, weight), torch.logaddexp(own_lse, over_lse)
        if width == tokens:
            out, lse = merged, merged_lse
        else:
            own.copy_(merged)
            own_lse.copy_(merged_lse)
    return out.reshape(kv_heads * shared, tokens, size).transpose(0, 1).unsqueeze(0), None


def over_prefix(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unmasked attention by the fastest kernel that also tells its log-sum-exp.

    Args:
        query: (kv heads, queries, head size).
        key: (kv heads, prefix tokens, head size).
        value: Same shape as ``key``.
        scale: Factor on the scores.

    Returns:
        Outputs (kv heads, queries, head size) and float32 log-sum-exp (kv heads, queries).
    """
    q, k, v = query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0)
    aten = torch.ops.aten
    if query.device.type == "cpu":
        out, lse = aten._scaled_dot_product_flash_attention_for_cpu(q, k, v, 0.0, False, scale=scale)
    elif flash.takes(query.device, query.dtype, query.shape[-1]):
        out, lse = aten._scaled_dot_product_flash_attention(q, k, v, 0.0, False, False, scale=scale)[:2]
    elif query.shape[-1] % 4 == 0:
        out, lse = aten._scaled_dot_product_efficient_attention(q, k, v, None, True, 0.0, False, scale=scale)[:2]
    else:
        return over_prefix_plainly(query, key, value, scale)
    return out[0], lse[0, :, : query.shape[1]].float()  # the kernels pad the log-sum-exp


def over_prefix_plainly(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`over_prefix` in plain matrix products, in stretches that keep the scores' memory small."""
    outs, sums = [], []
    step = max(1, _SCORE_ELEMENTS // (key.shape[0] * key.shape[1]))
    for start in range(0, query.shape[1], step):
        scores = torch.matmul(query[:, start : start + step], key.transpose(-1, -2)).float().mul_(scale)
        lse = torch.logsumexp(scores, dim=-1)
        weights = scores.sub_(lse.unsqueeze(-1)).exp_().to(value.dtype)
        outs.append(torch.matmul(weights, value))
        sums.append(lse)
    return torch.cat(outs, 1), torch.cat(sums, 1)


def _within_rows(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, plan: TreePlan, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of each token to its ancestors and itself: (kv heads, shared, tokens, head size) and its lse."""
    parts = [_within_bucket(query, key, value, bucket, scale) for bucket in plan.buckets]
    if plan.whole:
        return parts[0]
    out = torch.empty_like(query, memory_format=torch.contiguous_format)
    lse = torch.empty(query.shape[:-1], dtype=torch.float32, device=query.device)
    for bucket, (own, own_lse) in zip(plan.buckets, parts, strict=True):
        out[:, :, bucket.packed] = own
        lse[:, :, bucket.packed] = own_lse
    return out, lse


def _within_bucket(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bucket: RowBucket, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    rows, longest = bucket.gather.shape
    kv_heads, shared, _, size = query.shape
    flat = bucket.gather.reshape(-1)
    q = query.index_select(2, flat).reshape(kv_heads, shared, rows, longest, size)
    k = key.index_select(1, flat).reshape(kv_heads, 1, rows, longest, size)
    v = value.index_select(1, flat).reshape(kv_heads, 1, rows, longest, size)
    scores = torch.matmul(q, k.transpose(-1, -2)).float().mul_(scale)
    scores += bucket.bias
    lse = torch.logsumexp(scores, dim=-1)
    weights = scores.sub_(lse.unsqueeze(-1)).exp_().to(v.dtype)
    out = torch.matmul(weights, v).reshape(kv_heads, shared, rows * longest, size)
    lse = lse.reshape(kv_heads, shared, rows * longest)
    return out.index_select(2, bucket.padded), lse.index_select(2, bucket.padded)


def _over_rows(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, rows: RowCache, layer: int, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of each row's newest token to the row, itself included; its key and value join the cache."""
    keys, values = rows.layers[layer]
    count = query.shape[2]
    index = torch.arange(count, device=query.device)
    keys[index, :, rows.lengths] = key.transpose(0, 1)
    values[index, :, rows.lengths] = value.transpose(0, 1)
    longest = int(rows.lengths.max()) + 1
    k, v = keys[:, :, :longest], values[:, :, :longest]
    scores = torch.matmul(query.permute(2, 0, 1, 3), k.transpose(-1, -2)).float().mul_(scale)
    beyond = torch.arange(longest, device=query.device) > rows.lengths.unsqueeze(1)
    scores.masked_fill_(beyond[:, None, None], float("-inf"))
    lse = torch.logsumexp(scores, dim=-1)
    weights = scores.sub_(lse.unsqueeze(-1)).exp_().to(v.dtype)
    return torch.matmul(weights, v).permute(1, 2, 0, 3), lse.permute(1, 2, 0).contiguous()


def register() -> None:
    """Makes the attention known to transformers under :data:`NAME`; harmless when repeated."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, tree_attention)
    AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)
