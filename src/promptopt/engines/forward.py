"""Forward passes: prefixes into a cache of keys and values, packed token trees into hidden states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from promptopt.engines import attention, flash
from promptopt.engines.hardware import Stopwatch, to_device
from promptopt.engines.plans import LayerKV, PrefixSpan, TreePlan, tree_plan
from promptopt.engines.prefix_cache import PrefixCache, PrefixPiece
from promptopt.engines.prefixes import Prefix, parting_points
from promptopt.engines.tokenization import TokenIds
from promptopt.engines.trie import TokenTree

BATCHED_MODEL_TYPES = frozenset({"llama", "qwen2", "qwen3", "mistral", "granite", "olmo2", "smollm3"})
_PIECES_PER_PASS = 4096


@dataclass(frozen=True, slots=True)
class PrefixRows:
    """Rows after one prefix.

    Attributes:
        prefix: What they share.
        trees: The rows.
        nodes: For each row the nodes whose hidden states are wanted; -1 is the end of the prefix, wanted only where
            there is one.
    """

    prefix: Prefix
    trees: Sequence[TokenTree]
    nodes: Sequence[Sequence[int]]


class TreeForward(Protocol):
    """Runs token trees after shared prefixes and returns the hidden states after chosen nodes."""

    tokens_computed: int

    @property
    def seconds(self) -> float:
        """Time spent in the model so far; waits for the device."""
        ...

    def announce(self, prefixes: Sequence[Prefix]) -> None:
        """Says which prefixes the coming batches have, so that what they share can be computed once."""
        ...

    def hidden(self, batch: Sequence[PrefixRows]) -> torch.Tensor:
        """Hidden states.

        Args:
            batch: Rows by prefix, in the order of the announcement.

        Returns:
            (wanted nodes of all rows, hidden size), in the order of the batch.
        """
        ...

    def release(self) -> None:
        """Gives back what memory it can spare."""
        ...


class SharedPrefixForward:
    """The fast path: one packed sequence without padding, prefix attention without copies per case.

    Args:
        model: A causal language model whose attention is plain causal attention (see :func:`supports_trees`).
        prefix_bytes: Memory that prefix keys and values may occupy; the least recently used are dropped first.

    Attributes:
        device: Where the model runs.
    """

    def __init__(self, model: Any, prefix_bytes: int) -> None:
        attention.register()
        model.set_attn_implementation(attention.NAME)
        self._body = decoder_body(model)
        weight = next(model.parameters())
        self.device: torch.device = weight.device
        self._flash = flash.serves(self.device, weight.dtype, _head_size(model.config.get_text_config()))
        self._clock = Stopwatch(self.device)
        self._cache = PrefixCache(prefix_bytes)
        self._parts: Mapping[TokenIds, tuple[int, ...]] = {}
        self._joined: dict[tuple[int, ...], tuple[Sequence[PrefixPiece], list[LayerKV]]] = {}
        self.tokens_computed = 0

    @property
    def seconds(self) -> float:
        return self._clock.seconds

    def announce(self, prefixes: Sequence[Prefix]) -> None:
        self._parts = parting_points(p.tokens for p in prefixes)
        self._joined = {}

    def hidden(self, batch: Sequence[PrefixRows]) -> torch.Tensor:
        paths = self._ready([rows.prefix for rows in batch])
        filled = [[tree for tree in rows.trees if len(tree)] for rows in batch]
        states: list[torch.Tensor] = []
        if any(filled):
            spans = self._spans(paths, [sum(map(len, trees)) for trees in filled])
            plan = self.plan([tree.parents for trees in filled for tree in trees], spans)
            tokens = [token for trees in filled for tree in trees for token in tree.tokens]
            positions = [
                len(rows.prefix) + depth
                for rows, trees in zip(batch, filled, strict=True)
                for tree in trees
                for depth in tree.depths
            ]
            states.append(self.run(tokens, positions, plan))
        ends = [path[-1].last.unsqueeze(0) for path in paths if path and path[-1].last is not None]
        wanted = _wanted(batch, sum(map(len, (t for trees in filled for t in trees))))
        return torch.cat(states + ends)[to_device(wanted, self.device)]

    def prefix_spans(self, prefixes: Sequence[Prefix], widths: Sequence[int]) -> list[PrefixSpan]:
        """Computes prefixes that are not resident and says which packed tokens attend to what.

        Args:
            prefixes: In the order of the announcement.
            widths: For each the number of packed tokens that come after it.
        """
        return self._spans(self._ready(prefixes), widths)

    def plan(self, parents: Sequence[Sequence[int]], spans: list[PrefixSpan]) -> TreePlan:
        """How packed rows attend, as :func:`tree_plan`, by the fastest kernels that compute this model's attention."""
        return tree_plan(parents, spans, self.device, chains=self._flash)

    def run(self, tokens: Sequence[int], positions: Sequence[int], plan: TreePlan) -> torch.Tensor:
        """One pass over packed tokens: hidden states (tokens, hidden size)."""
        index = to_device([list(tokens), list(positions)], self.device)
        token = attention.ACTIVE_PLAN.set(plan)
        try:
            with self._clock:
                states: torch.Tensor = self._body(
                    input_ids=index[0:1], position_ids=index[1:2], use_cache=False
                ).last_hidden_state[0]
        finally:
            attention.ACTIVE_PLAN.reset(token)
        self.tokens_computed += len(tokens)
        return states

    def release(self) -> None:
        self._joined = {}
        self._cache.shrink(budget_bytes=0)

    def _ready(self, prefixes: Sequence[Prefix]) -> list[list[PrefixPiece]]:
        """The computed pieces of every prefix."""
        paths = [self._cache.pieces(p, self._parts.get(p.tokens, ())) for p in prefixes]
        in_use = [path[-1] for path in paths if path]
        missing = list({id(p): p for path in paths for p in path if not p.layers}.values())
        while missing:
            ready = [p for p in missing if p.parent is None or p.parent.layers]
            for group in _by_size(ready):
                self._compute(group)
            missing = [p for p in missing if not p.layers]
            self._cache.shrink(in_use)
        return paths

    def _compute(self, pieces: Sequence[PrefixPiece]) -> None:
        """Keys and values of pieces whose parents are computed, in one pass."""
        above = [piece.path()[:-1] for piece in pieces]
        widths = [len(piece.tokens) for piece in pieces]
        chains = [list(range(-1, width - 1)) for width in widths]
        plan = self.plan(chains, self._spans(above, widths))
        plan.capture = []
        tokens = [token for piece in pieces for token in piece.tokens]
        positions = [position for piece in pieces for position in range(piece.start, piece.end)]
        states = self.run(tokens, positions, plan)
        start = 0
        for piece, width in zip(pieces, widths, strict=True):
            stop = start + width
            whole = len(pieces) == 1
            layers = [
                (k, v) if whole else (k[:, start:stop].clone(), v[:, start:stop].clone()) for k, v in plan.capture
            ]
            self._cache.put(piece, layers, states[stop - 1].clone())
            start = stop

    def _spans(self, paths: Sequence[Sequence[PrefixPiece]], widths: Sequence[int]) -> list[PrefixSpan]:
        """Pieces that the same packed tokens attend to are joined, and every piece is attended to once."""
        covers: dict[int, list[int]] = {}
        pieces: dict[int, PrefixPiece] = {}
        start = 0
        for path, width in zip(paths, widths, strict=True):
            for piece in path if width else ():
                pieces[id(piece)] = piece
                covers.setdefault(id(piece), [start, start])[1] = start + width
            start += width
        grouped: dict[tuple[int, int], list[PrefixPiece]] = {}
        for key, (first, stop) in covers.items():
            grouped.setdefault((first, stop), []).append(pieces[key])
        spans = []
        joined, self._joined = self._joined, {}
        for (first, stop), group in grouped.items():
            ids = tuple(map(id, group))
            # The pieces are held beside their join: an id says who a piece is only for as long as it lives.
            self._joined[ids] = joined.get(ids) or (group, _join(group))
            spans.append(PrefixSpan(first, stop, self._joined[ids][1]))
        return spans


def _head_size(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _wanted(batch: Sequence[PrefixRows], packed: int) -> list[int]:
    """Rows of the packed states, which the ends of the batch's prefixes follow."""
    wanted: list[int] = []
    offset, end = 0, packed
    for rows in batch:
        for tree, nodes in zip(rows.trees, rows.nodes, strict=True):
            wanted.extend(end if node < 0 else offset + node for node in nodes)
            offset += len(tree)
        end += bool(len(rows.prefix))
    return wanted


def _join(pieces: Sequence[PrefixPiece]) -> list[LayerKV]:
    """Keys and values of pieces that follow one another, per layer."""
    if len(pieces) == 1:
        return pieces[0].layers
    layers = zip(*(piece.layers for piece in pieces), strict=True)
    return [(torch.cat([k for k, _ in layer], 1), torch.cat([v for _, v in layer], 1)) for layer in layers]


def _by_size(pieces: Sequence[PrefixPiece]) -> list[list[PrefixPiece]]:
    """Pieces in groups for one pass; those after one parent side by side, since a span covers neighbours."""
    groups: list[list[PrefixPiece]] = []
    size = 0
    for piece in pieces:
        if not groups or size + len(piece.tokens) > _PIECES_PER_PASS:
            groups.append([])
            size = 0
        groups[-1].append(piece)
        size += len(piece.tokens)
    return groups


def supports_trees(model: Any) -> bool:
    """True when the model's attention is plain causal attention, which the packed path computes exactly."""
    config = model.config
    window = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    rope = getattr(config, "rope_parameters", None) or {}
    # Frequencies that follow the length of the pass would differ between a prefix and the rows after it.
    follows_length = rope.get("rope_type") in {"dynamic", "longrope"}
    return config.model_type in BATCHED_MODEL_TYPES and not window and not follows_length


def decoder_body(model: Any) -> Any:
    """The model without its output head; Llama 4 misnames its own base model, which is then ``model.model``."""
    body = model.get_decoder()
    return model.model if body is model else body
