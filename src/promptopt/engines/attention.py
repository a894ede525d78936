"""Attention of token trees over a shared prefix, in two parts merged by their log-sum-exp.

All queries of a batch are packed into one sequence without padding. Every token attends to the whole prefix (one matrix
product per key-value head, the prefix never copied) and to its own ancestors in its row. Merging partial attentions by
log-sum-exp is exact; the method is that of FlashDecoding and Hydragen (Juravsky et al. 2024, arXiv 2402.05099).
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch

NAME = "promptopt_tree"
LayerKV = tuple[torch.Tensor, torch.Tensor]


@dataclass(slots=True)
class TreePlan:
    """How the packed tokens of one forward pass attend.

    Attributes:
        prefix: Per layer keys and values of the shared prefix, each (kv heads, prefix tokens, head size); empty when
            there is no prefix.
        gather: int64 (rows, longest row): packed position of each row's tokens, padded with the row's last.
        scatter: int64 (tokens,): position of each packed token in the flattened ``gather``.
        bias: float32 (rows or 1, longest row, longest row): 0 where a token may attend, -inf elsewhere; one for all
            rows when none of them branches.
        capture: When not None, the pass's own keys and values are appended here, layer by layer.
    """

    prefix: list[LayerKV]
    gather: torch.Tensor
    scatter: torch.Tensor
    bias: torch.Tensor
    capture: list[LayerKV] | None = field(default=None)


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
    kv_heads, tokens, size = key.shape[1:]
    shared = query.shape[1] // kv_heads
    grouped = query[0].reshape(kv_heads, shared, tokens, size)
    out, lse = _within_rows(grouped, key[0], value[0], plan, scale)
    if plan.prefix:
        prefix_key, prefix_value = plan.prefix[int(module.layer_idx)]  # type: ignore[arg-type]
        flat = grouped.reshape(kv_heads, shared * tokens, size)
        over, over_lse = _over_prefix(flat, prefix_key, prefix_value, scale)
        over = over.reshape(kv_heads, shared, tokens, size)
        weight = torch.sigmoid(over_lse.reshape(kv_heads, shared, tokens) - lse).unsqueeze(-1).to(out.dtype)
        out = torch.lerp(out, over, weight)
    return out.reshape(kv_heads * shared, tokens, size).transpose(0, 1).unsqueeze(0), None


def _over_prefix(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Unmasked attention: outputs (kv heads, queries, head size) and float32 log-sum-exp (kv heads, queries)."""
    if query.device.type == "cpu":
        out, lse = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query.unsqueeze(0), key.unsqueeze(0), value.unsqueeze(0), 0.0, False, scale=scale
        )
        return out[0], lse[0].float()
    scores = torch.matmul(query, key.transpose(-1, -2)).float().mul_(scale)
    lse = torch.logsumexp(scores, dim=-1)
    weights = scores.sub_(lse.unsqueeze(-1)).exp_().to(value.dtype)
    return torch.matmul(weights, value), lse


def _within_rows(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, plan: TreePlan, scale: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention of each token to its ancestors and itself: (kv heads, shared, tokens, head size) and its lse."""
    rows, longest = plan.gather.shape
    kv_heads, shared, _, size = query.shape
    flat = plan.gather.reshape(-1)
    q = query.index_select(2, flat).reshape(kv_heads, shared, rows, longest, size)
    k = key.index_select(1, flat).reshape(kv_heads, 1, rows, longest, size)
    v = value.index_select(1, flat).reshape(kv_heads, 1, rows, longest, size)
    scores = torch.matmul(q, k.transpose(-1, -2)).float().mul_(scale)
    scores += plan.bias
    lse = torch.logsumexp(scores, dim=-1)
    weights = scores.sub_(lse.unsqueeze(-1)).exp_().to(v.dtype)
    out = torch.matmul(weights, v).reshape(kv_heads, shared, rows * longest, size)
    lse = lse.reshape(kv_heads, shared, rows * longest)
    return out.index_select(2, plan.scatter), lse.index_select(2, plan.scatter)


def causal_plan(tokens: int, prefix: list[LayerKV], device: torch.device) -> TreePlan:
    """A plan for one plain sequence that continues the prefix and whose keys and values are captured."""
    index = torch.arange(tokens, device=device)
    return TreePlan(prefix, index.unsqueeze(0), index, _bias(_causal(tokens)).to(device), capture=[])


def tree_plan(parents: Sequence[Sequence[int]], prefix: list[LayerKV], device: torch.device) -> TreePlan:
    """A plan for packed rows.

    Args:
        parents: For each row the parent of each token within the row, -1 for a first token; parents come before their
            children.
        prefix: Keys and values of the shared prefix per layer.
        device: Where the plan is used.

    Returns:
        The plan; row r's tokens follow those of row r - 1 in the packed sequence.
    """
    lengths = torch.tensor([len(row) for row in parents])
    longest = int(lengths.max())
    column = torch.arange(longest)
    starts = (lengths.cumsum(0) - lengths).unsqueeze(1)
    # Padding repeats the row's own last token: its values must stay out of other rows even when they are NaN.
    gather = starts + torch.minimum(column, lengths.unsqueeze(1) - 1)
    real = column < lengths.unsqueeze(1)
    scatter = real.flatten().nonzero().squeeze(1)
    allowed = _causal(longest)
    branching = [r for r, row in enumerate(parents) if any(parent != i - 1 for i, parent in enumerate(row))]
    if branching:
        allowed = allowed.repeat(len(parents), 1, 1)
        for r in branching:
            allowed[r] = _ancestors(parents[r], longest)
    return TreePlan(prefix, gather.to(device), scatter.to(device), _bias(allowed).to(device))


def _causal(tokens: int) -> torch.Tensor:
    return torch.ones(1, tokens, tokens, dtype=torch.bool).tril_()


def _ancestors(parents: Sequence[int], longest: int) -> torch.Tensor:
    """True where a token may attend; padding attends to itself, since a row masked throughout would be NaN."""
    allowed = torch.eye(longest, dtype=torch.bool)
    for node, parent in enumerate(parents):
        if parent >= 0:
            allowed[node] |= allowed[parent]
    return allowed


def _bias(allowed: torch.Tensor) -> torch.Tensor:
    return torch.zeros(allowed.shape, dtype=torch.float32).masked_fill_(~allowed, float("-inf"))


def register() -> None:
    """Makes the attention known to transformers under :data:`NAME`; harmless when repeated."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(NAME, tree_attention)
    AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)
