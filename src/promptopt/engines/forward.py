"""Forward passes: prefix chunks into a cache of keys and values, packed token trees into label scores."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Protocol

import torch

from promptopt.engines import attention
from promptopt.engines.attention import LayerKV
from promptopt.engines.trie import PrefixChunks, TokenTree

BATCHED_MODEL_TYPES = frozenset({"llama", "qwen2", "qwen3", "mistral", "granite", "olmo2", "smollm3"})


class TreeForward(Protocol):
    """Runs token trees after a shared prefix and returns the hidden states after chosen nodes."""

    tokens_computed: int
    seconds: float

    def hidden(self, prefix: PrefixChunks, trees: Sequence[TokenTree], nodes: Sequence[Sequence[int]]) -> torch.Tensor:
        """Hidden states.

        Args:
            prefix: Chunks of the shared prefix.
            trees: The rows.
            nodes: For each row the nodes wanted; -1 is the end of the prefix, wanted only where there is one.

        Returns:
            (wanted nodes of all rows, hidden size), row by row in the order of ``nodes``.
        """
        ...


class SharedPrefixForward:
    """The fast path: one packed sequence without padding, prefix attention without copies.

    Args:
        model: A causal language model whose attention is plain causal attention (see :func:`supports_trees`).
        prefix_bytes: Memory that prefix keys and values may occupy; the least recently used are dropped first.
    """

    def __init__(self, model: Any, prefix_bytes: int) -> None:
        attention.register()
        model.set_attn_implementation(attention.NAME)
        self._body = _body(model)
        self._device: torch.device = next(model.parameters()).device
        self._dtype: torch.dtype = next(model.parameters()).dtype
        self._cache = PrefixCache(prefix_bytes)
        self.tokens_computed = 0
        self.seconds = 0.0

    def hidden(self, prefix: PrefixChunks, trees: Sequence[TokenTree], nodes: Sequence[Sequence[int]]) -> torch.Tensor:
        layers, last = self._prefix(prefix)
        states = [] if last is None else [last.unsqueeze(0)]
        filled = [tree for tree in trees if len(tree)]
        if filled:
            plan = attention.tree_plan([tree.parents for tree in filled], layers, self._device)
            start = sum(len(chunk) for chunk in prefix)
            tokens = [token for tree in filled for token in tree.tokens]
            positions = [start + depth for tree in filled for depth in tree.depths]
            states.append(self._run(tokens, positions, plan))
        wanted: list[int] = []
        offset = 0 if last is None else 1
        for tree, row in zip(trees, nodes, strict=True):
            wanted.extend(0 if node < 0 else offset + node for node in row)
            offset += len(tree)
        return torch.cat(states)[torch.tensor(wanted, device=self._device)]

    def _prefix(self, chunks: PrefixChunks) -> tuple[list[LayerKV], torch.Tensor | None]:
        """Keys and values of the whole prefix per layer, and the hidden state after its last token."""
        known = len(chunks)
        while known and self._cache.get(chunks[:known]) is None:
            known -= 1
        found = self._cache.get(chunks[:known]) if known else None
        layers, last = found if found else ([], None)
        for end in range(known + 1, len(chunks) + 1):
            chunk = chunks[end - 1]
            start = sum(len(c) for c in chunks[: end - 1])
            plan = attention.causal_plan(len(chunk), layers, self._device)
            states = self._run(list(chunk), list(range(start, start + len(chunk))), plan)
            own = plan.capture or []
            if layers:
                own = [(torch.cat([k, a], 1), torch.cat([v, b], 1)) for (k, v), (a, b) in zip(layers, own, strict=True)]
            layers, last = own, states[-1].clone()
            self._cache.put(chunks[:end], layers, last)
        return layers, last

    def _run(self, tokens: list[int], positions: list[int], plan: attention.TreePlan) -> torch.Tensor:
        began = time.perf_counter()
        token = attention.ACTIVE_PLAN.set(plan)
        try:
            states: torch.Tensor = self._body(
                input_ids=torch.tensor([tokens], device=self._device),
                position_ids=torch.tensor([positions], device=self._device),
                use_cache=False,
            ).last_hidden_state[0]
        finally:
            attention.ACTIVE_PLAN.reset(token)
        _wait(self._device)
        self.seconds += time.perf_counter() - began
        self.tokens_computed += len(tokens)
        return states


class PrefixCache:
    """Keys and values of prefixes, the least recently used dropped when the budget is full."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._entries: OrderedDict[PrefixChunks, tuple[list[LayerKV], torch.Tensor]] = OrderedDict()
        self._bytes = 0

    def get(self, key: PrefixChunks) -> tuple[list[LayerKV], torch.Tensor] | None:
        """The entry, now the most recently used, or None."""
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: PrefixChunks, layers: list[LayerKV], last: torch.Tensor) -> None:
        """Keeps an entry; one larger than the whole budget is kept alone until the next arrives."""
        self._entries[key] = (layers, last)
        self._bytes += _size(layers)
        while self._bytes > self._budget and len(self._entries) > 1:
            _, (dropped, _) = self._entries.popitem(last=False)
            self._bytes -= _size(dropped)


class PaddedForward:
    """The plain path for any architecture: every branch is a sequence of its own, padded to the longest.

    Slower, and the reference that the fast path is tested against.

    Args:
        model: A causal language model.
        pad_id: Token that fills the ends of shorter sequences; masked, so any will do.
        batch_tokens: Tokens per forward pass, padding included; one sequence at least.
    """

    def __init__(self, model: Any, pad_id: int, batch_tokens: int) -> None:
        if model.config._attn_implementation == attention.NAME:
            model.set_attn_implementation("sdpa")
        self._body = _body(model)
        self._device: torch.device = next(model.parameters()).device
        self._pad = pad_id
        self._batch_tokens = batch_tokens
        self.tokens_computed = 0
        self.seconds = 0.0

    def hidden(self, prefix: PrefixChunks, trees: Sequence[TokenTree], nodes: Sequence[Sequence[int]]) -> torch.Tensor:
        shared = [token for chunk in prefix for token in chunk]
        paths = [shared + _path(tree, node) for tree, row in zip(trees, nodes, strict=True) for node in row]
        by_length = sorted(range(len(paths)), key=lambda i: len(paths[i]))
        states: dict[int, torch.Tensor] = {}
        while by_length:
            longest = len(paths[by_length[-1]])
            batch = by_length[-max(1, self._batch_tokens // longest) :]
            del by_length[-len(batch) :]
            states.update(zip(batch, self._run([paths[i] for i in batch]), strict=True))
        return torch.stack([states[i] for i in range(len(paths))])

    def _run(self, sequences: list[list[int]]) -> torch.Tensor:
        """Hidden states after the last token of each sequence: (sequences, hidden size)."""
        lengths = torch.tensor([len(s) for s in sequences])
        ids = torch.full((len(sequences), int(lengths.max())), self._pad)
        for i, sequence in enumerate(sequences):
            ids[i, : len(sequence)] = torch.tensor(sequence)
        mask = (torch.arange(ids.shape[1]) < lengths.unsqueeze(1)).long()
        began = time.perf_counter()
        states: torch.Tensor = self._body(
            input_ids=ids.to(self._device), attention_mask=mask.to(self._device), use_cache=False
        ).last_hidden_state
        last = states[torch.arange(len(sequences), device=self._device), (lengths - 1).to(self._device)]
        _wait(self._device)
        self.seconds += time.perf_counter() - began
        self.tokens_computed += ids.numel()
        return last


def supports_trees(model: Any) -> bool:
    """True when the model's attention is plain causal attention, which the packed path computes exactly."""
    config = model.config
    window = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    rope = getattr(config, "rope_parameters", None) or {}
    # Frequencies that follow the length of the pass would differ between a prefix and the rows after it.
    follows_length = rope.get("rope_type") in {"dynamic", "longrope"}
    return config.model_type in BATCHED_MODEL_TYPES and not window and not follows_length


def _body(model: Any) -> Any:
    """The model without its output head; Llama 4 misnames its own base model, which is then ``model.model``."""
    body = model.get_decoder()
    return model.model if body is model else body


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _path(tree: TokenTree, node: int) -> list[int]:
    tokens: list[int] = []
    while node >= 0:
        tokens.append(tree.tokens[node])
        node = tree.parents[node]
    return tokens[::-1]


def _size(layers: list[LayerKV]) -> int:
    return sum(t.numel() * t.element_size() for pair in layers for t in pair)
