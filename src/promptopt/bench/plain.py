"""Three plain ways to score labels, as a careful engineer would write them with transformers alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from promptopt.engines.tokenization import TokenIds

Probabilities = npt.NDArray[np.float64]
LayerKV = tuple[torch.Tensor, torch.Tensor]


def use_plain_attention(model: Any) -> None:
    """Gives the model transformers' own attention back, should an engine have put in its own."""
    if model.config._attn_implementation not in {"sdpa", "eager"}:
        model.set_attn_implementation("sdpa")


@torch.inference_mode()
def score_sequence(model: Any, tokens: TokenIds, label_tokens: Sequence[int]) -> float:
    """Probability of the first label from one forward pass of one sequence through the whole model, head included.

    Args:
        model: A causal language model.
        tokens: The query.
        label_tokens: First tokens of the labels.
    """
    ids = torch.tensor([tokens], device=_device(model))
    logits = model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[0, -1]
    return float(torch.softmax(logits[list(label_tokens)].double(), -1)[0])


@torch.inference_mode()
def score_padded(model: Any, sequences: Sequence[TokenIds], label_tokens: Sequence[int]) -> tuple[Probabilities, int]:
    """Probabilities of the first label from one padded batch.

    Args:
        model: A causal language model.
        sequences: The queries of the batch.
        label_tokens: First tokens of the labels.

    Returns:
        One probability per sequence, and the tokens computed, padding included.
    """
    ids, mask, last = _padded(sequences, _device(model))
    states = _body(model)(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    return _read(model, states, last, label_tokens), ids.numel()


@torch.inference_mode()
def prefix_cache(model: Any, prefix: TokenIds) -> list[LayerKV]:
    """Keys and values of a prefix, (1, kv heads, tokens, head size) for each layer."""
    from transformers import DynamicCache

    cache = DynamicCache()
    _body(model)(input_ids=torch.tensor([prefix], device=_device(model)), past_key_values=cache, use_cache=True)
    return [(layer.keys, layer.values) for layer in cache.layers]


@torch.inference_mode()
def score_after_prefix(
    model: Any, layers: Sequence[LayerKV], rests: Sequence[TokenIds], label_tokens: Sequence[int]
) -> tuple[Probabilities, int]:
    """Probabilities of the first label from one padded batch of what follows a cached prefix.

    Args:
        model: A causal language model.
        layers: The prefix, from :func:`prefix_cache`; left as it is.
        rests: What follows it in each query of the batch.
        label_tokens: First tokens of the labels.

    Returns:
        One probability per query, and the tokens computed, padding included.
    """
    from transformers import DynamicCache

    ids, mask, last = _padded(rests, _device(model))
    rows, start = len(rests), layers[0][0].shape[2]
    cache = DynamicCache([(k.expand(rows, -1, -1, -1), v.expand(rows, -1, -1, -1)) for k, v in layers])
    whole = torch.cat([mask.new_ones(rows, start), mask], 1)
    positions = torch.arange(start, start + ids.shape[1], device=ids.device).expand(rows, -1)
    states = _body(model)(
        input_ids=ids, attention_mask=whole, position_ids=positions, past_key_values=cache, use_cache=True
    ).last_hidden_state
    return _read(model, states, last, label_tokens), ids.numel()


def batches(numbers: Sequence[int], lengths: Sequence[int], size: int) -> Iterator[list[int]]:
    """Cuts numbers into batches of like length.

    Args:
        numbers: What to cut.
        lengths: The length that each number stands for, by number.
        size: Numbers per batch; the last may have fewer.
    """
    ordered = sorted(numbers, key=lambda number: lengths[number])
    for start in range(0, len(ordered), size):
        yield ordered[start : start + size]


def _device(model: Any) -> torch.device:
    device: torch.device = next(model.parameters()).device
    return device


def _body(model: Any) -> Any:
    """The model without its output head."""
    body = model.get_decoder()
    return model.model if body is model else body


def _padded(sequences: Sequence[TokenIds], device: torch.device) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids and mask (sequences, longest), and the position of each sequence's last token."""
    longest = max(map(len, sequences))
    ids = torch.tensor([[*s, *[0] * (longest - len(s))] for s in sequences])
    lengths = torch.tensor([len(s) for s in sequences])
    mask = (torch.arange(longest) < lengths.unsqueeze(1)).long()
    return ids.to(device), mask.to(device), (lengths - 1).to(device)


def _read(model: Any, states: torch.Tensor, last: torch.Tensor, label_tokens: Sequence[int]) -> Probabilities:
    """Probabilities of the first label; only the labels' rows of the output head are computed."""
    head, config = model.get_output_embeddings(), model.config.get_text_config()
    chosen = states[torch.arange(len(last), device=last.device), last].float()
    rows = list(label_tokens)
    logits = chosen @ head.weight[rows].float().T
    if getattr(head, "bias", None) is not None:
        logits = logits + head.bias[rows].float()
    logits = logits * float(getattr(config, "logit_scale", None) or 1.0)
    logits = logits / float(getattr(config, "logits_scaling", None) or 1.0)
    if cap := getattr(config, "final_logit_softcapping", None):
        logits = torch.tanh(logits / cap) * cap
    found: Probabilities = torch.softmax(logits.double(), -1)[:, 0].cpu().numpy()
    return found
