"""Counts of floating-point operations and of trie edges, from shapes and token counts alone.

One multiplication with its addition counts as two operations. Counted are the linear layers of the decoder (two per
parameter and token) and attention (scores and weighted values: four per layer, head, channel and token attended to, a
token itself included). Not counted are the embedding, norms, activations, softmax and the label rows of the head, which
together are a percent or less. Padding and masked attention are not counted either: they are work, but not useful work.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ModelShape:
    """What of a decoder decides on its operations.

    Attributes:
        layers: Decoder layers.
        heads: Query heads per layer.
        head_dim: Channels per head.
        linear_parameters: Parameters of the decoder without the embedding and the output head. Experts count in
            full, so that for mixtures of experts the count is an upper bound.
    """

    layers: int
    heads: int
    head_dim: int
    linear_parameters: int

    @classmethod
    def of(cls, model: Any) -> ModelShape:
        """The shape of a transformers causal language model."""
        config = model.config.get_text_config()
        tables = {id(table.weight) for table in (model.get_input_embeddings(), model.get_output_embeddings()) if table}
        return cls(
            layers=config.num_hidden_layers,
            heads=config.num_attention_heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
            linear_parameters=sum(p.numel() for p in model.parameters() if id(p) not in tables),
        )

    def flops(self, start: int, stop: int) -> int:
        """Operations for a sequence's tokens from position ``start`` up to ``stop``, when those before are computed."""
        attended = stop * (stop + 1) // 2 - start * (start + 1) // 2
        linear = 2 * self.linear_parameters * (stop - start)
        return linear + 4 * self.layers * self.heads * self.head_dim * attended


def trie_spans(sequences: Iterable[Sequence[int]]) -> list[tuple[int, int]]:
    """The edges of the trie of some token sequences, as stretches of positions.

    Args:
        sequences: Token ids; equal sequences count once.

    Returns:
        For each distinct sequence, in lexicographic order, from where on it is new and its length. The lengths of the
        stretches add up to the tokens that have to be computed when all sharing is used.
    """
    spans: list[tuple[int, int]] = []
    before: Sequence[int] = ()
    for sequence in sorted(set(map(tuple, sequences))):
        spans.append((_shared(before, sequence), len(sequence)))
        before = sequence
    return spans


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of what two sequences begin with alike."""
    shortest = min(len(a), len(b))
    return next((i for i in range(shortest) if a[i] != b[i]), shortest)


@dataclass(frozen=True, slots=True)
class WorkCount:
    """The least work that some judgements need.

    Attributes:
        judgements: How many.
        tokens_submitted: Tokens of all of them, each counted in full.
        trie_edges: Tokens left when every shared stretch before the cases is computed once.
        full_flops: Operations without any sharing.
        prefix_flops: Operations of the shared stretches, each computed once.
        marginal_flops: Operations of everything after the prefixes.
    """

    judgements: int
    tokens_submitted: int
    trie_edges: int
    full_flops: int
    prefix_flops: int
    marginal_flops: int

    @property
    def ideal_ratio(self) -> float:
        """How many times fewer operations sharing needs, the one-off prefixes counted."""
        return self.full_flops / (self.prefix_flops + self.marginal_flops)

    @property
    def ideal_marginal_ratio(self) -> float:
        """How many times fewer operations sharing needs, the one-off prefixes apart."""
        return self.full_flops / self.marginal_flops


def count_work(shape: ModelShape, sequences: Sequence[tuple[Sequence[int], Sequence[int]]]) -> WorkCount:
    """Counts what sequences need.

    Args:
        shape: The model.
        sequences: For each judgement the token ids before the case, and those from there on.

    Raises:
        ValueError: There is no sequence, or one has nothing after its prefix.
    """
    if not sequences or not all(rest for _, rest in sequences):
        raise ValueError("work is counted for one judgement or more, each with tokens after its prefix")
    spans = trie_spans(prefix for prefix, _ in sequences)
    bounds = [(len(prefix), len(prefix) + len(rest)) for prefix, rest in sequences]
    return WorkCount(
        judgements=len(sequences),
        tokens_submitted=sum(stop for _, stop in bounds),
        trie_edges=sum(stop - start for start, stop in spans) + sum(stop - start for start, stop in bounds),
        full_flops=sum(shape.flops(0, stop) for _, stop in bounds),
        prefix_flops=sum(shape.flops(start, stop) for start, stop in spans),
        marginal_flops=sum(shape.flops(start, stop) for start, stop in bounds),
    )
