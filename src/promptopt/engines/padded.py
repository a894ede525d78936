"""The plain path: every branch is a sequence of its own, padded to the longest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from promptopt.engines import attention
from promptopt.engines.forward import PrefixRows, decoder_body
from promptopt.engines.hardware import Stopwatch
from promptopt.engines.prefixes import Prefix
from promptopt.engines.trie import TokenTree


class PaddedForward:
    """Any architecture, without sharing; slower, and the reference that the fast path is tested against.

    Args:
        model: A causal language model.
        pad_id: Token that fills the ends of shorter sequences; masked, so any will do.
        batch_tokens: Tokens per forward pass, padding included; one sequence at least.
    """

    def __init__(self, model: Any, pad_id: int, batch_tokens: int) -> None:
        if model.config._attn_implementation == attention.NAME:
            model.set_attn_implementation("sdpa")
        self._body = decoder_body(model)
        self._device: torch.device = next(model.parameters()).device
        self._clock = Stopwatch(self._device)
        self._pad = pad_id
        self._batch_tokens = batch_tokens
        self.tokens_computed = 0

    @property
    def seconds(self) -> float:
        return self._clock.seconds

    def announce(self, prefixes: Sequence[Prefix]) -> None:
        """Nothing is shared here."""

    def release(self) -> None:
        """Nothing is kept here."""

    def hidden(self, batch: Sequence[PrefixRows]) -> torch.Tensor:
        paths = [
            [*rows.prefix.tokens, *_path(tree, node)]
            for rows in batch
            for tree, nodes in zip(rows.trees, rows.nodes, strict=True)
            for node in nodes
        ]
        by_length = sorted(range(len(paths)), key=lambda i: len(paths[i]))
        states: dict[int, torch.Tensor] = {}
        while by_length:
            longest = len(paths[by_length[-1]])
            chosen = by_length[-max(1, self._batch_tokens // longest) :]
            del by_length[-len(chosen) :]
            states.update(zip(chosen, self._run([paths[i] for i in chosen]), strict=True))
        return torch.stack([states[i] for i in range(len(paths))])

    def _run(self, sequences: list[list[int]]) -> torch.Tensor:
        """Hidden states after the last token of each sequence: (sequences, hidden size)."""
        lengths = torch.tensor([len(s) for s in sequences])
        ids = torch.full((len(sequences), int(lengths.max())), self._pad)
        for i, sequence in enumerate(sequences):
            ids[i, : len(sequence)] = torch.tensor(sequence)
        mask = (torch.arange(ids.shape[1]) < lengths.unsqueeze(1)).long()
        with self._clock:
            states: torch.Tensor = self._body(
                input_ids=ids.to(self._device), attention_mask=mask.to(self._device), use_cache=False
            ).last_hidden_state
            last = states[torch.arange(len(sequences), device=self._device), (lengths - 1).to(self._device)]
        self.tokens_computed += ids.numel()
        return last


def _path(tree: TokenTree, node: int) -> list[int]:
    tokens: list[int] = []
    while node >= 0:
        tokens.append(tree.tokens[node])
        node = tree.parents[node]
    return tokens[::-1]
