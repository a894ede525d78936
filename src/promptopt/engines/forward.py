"""Forward passes: prefix chunks into a cache of keys and values, packed token trees into label scores."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch

from promptopt.engines import attention
from promptopt.engines.attention import LayerKV
from promptopt.engines.tokenization import TokenIds
from promptopt.engines.trie import TokenTree

PrefixChunks = tuple[TokenIds, ...]
BATCHED_MODEL_TYPES = frozenset({"llama", "qwen2", "qwen3", "mistral", "granite", "olmo2", "smollm3"})


class TreeForward(Protocol):
    """Runs token trees after a shared prefix and returns the hidden states after chosen nodes."""

    tokens_computed: int
    seconds: float

    def hidden(
        self, prefix: PrefixChunks, trees: Sequence[TokenTree], nodes: Sequence[Sequence[int]]
    ) -> list[torch.Tensor]:
        """Hidden states.

        Args:
            prefix: Chunks of the shared prefix.
            trees: The rows.
            nodes: For each row the nodes wanted; -1 is the end of the prefix.

        Returns:
            For each row a tensor (wanted nodes, hidden size) in the order of ``nodes``.
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
        self._body = model.base_model
        self._device: torch.device = next(model.parameters()).device
        self._dtype: torch.dtype = next(model.parameters()).dtype
        self._cache = PrefixCache(prefix_bytes)
        self.tokens_computed = 0
        self.seconds = 0.0

    def hidden(
        self, prefix: PrefixChunks, trees: Sequence[TokenTree], nodes: Sequence[Sequence[int]]
    ) -> list[torch.Tensor]:
        layers, last = self._prefix(prefix)
        filled = [tree for tree in trees if len(tree)]
        packed = torch.empty(0)
        if filled:
            plan = attention.tree_plan([tree.parents for tree in filled], layers, self._device)
            start = sum(len(chunk) for chunk in prefix)
            tokens = [token for tree in filled for token in tree.tokens]
            positions = [start + depth for tree in filled for depth in tree.depths]
            packed = self._run(tokens, positions, plan)
        out, offset = [], 0
        for tree, wanted in zip(trees, nodes, strict=True):
            rows = [last if node < 0 else packed[offset + node] for node in wanted]
            out.append(torch.stack([row for row in rows if row is not None]))
            offset += len(tree)
        return out

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
            plan = attention.causal_plan(len(chunk), layers, self._device, torch.float32)
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
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
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
    """

    def __init__(self, model: Any, pad_id: int) -> None:
        self._body = model.base_model
        self._device: torch.device = next(model.parameters()).device
        self._pad = pad_id
        self.tokens_computed = 0
        self.seconds = 0.0

    def hidden(
        self, prefix: PrefixChunks, trees: Sequence[TokenTree], nodes: Sequence[Sequence[int]]
    ) -> list[torch.Tensor]:
        shared = [token for chunk in prefix for token in chunk]
        paths = [[shared + _path(tree, node) for node in wanted] for tree, wanted in zip(trees, nodes, strict=True)]
        flat = [path for row in paths for path in row]
        states = self._run(flat)
        source: Iterator[torch.Tensor] = iter(states)
        return [torch.stack([next(source) for _ in row]) for row in paths]

    def _run(self, sequences: list[list[int]]) -> list[torch.Tensor]:
        longest = max(len(s) for s in sequences)
        ids = torch.full((len(sequences), longest), self._pad)
        mask = torch.zeros((len(sequences), longest), dtype=torch.int64)
        for i, sequence in enumerate(sequences):
            ids[i, : len(sequence)] = torch.tensor(sequence)
            mask[i, : len(sequence)] = 1
        began = time.perf_counter()
        states = self._body(
            input_ids=ids.to(self._device), attention_mask=mask.to(self._device), use_cache=False
        ).last_hidden_state
        self.seconds += time.perf_counter() - began
        self.tokens_computed += ids.numel()
        return [states[i, len(sequence) - 1] for i, sequence in enumerate(sequences)]


def supports_trees(model: Any) -> bool:
    """True when the model's attention is plain causal attention, which the packed path computes exactly."""
    config = model.config
    window = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    return config.model_type in BATCHED_MODEL_TYPES and not window


def _path(tree: TokenTree, node: int) -> list[int]:
    tokens: list[int] = []
    while node >= 0:
        tokens.append(tree.tokens[node])
        node = tree.parents[node]
    return tokens[::-1]


def _size(layers: list[LayerKV]) -> int:
    return sum(t.numel() * t.element_size() for pair in layers for t in pair)
