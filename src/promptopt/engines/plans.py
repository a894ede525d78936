"""Plans: which packed tokens of one forward pass attend to which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import torch

from promptopt.engines.hardware import to_device

LayerKV = tuple[torch.Tensor, torch.Tensor]
_SHORT_ROW = 32
_ALIGNED = 8  # CUDA multiplies matrices of half-precision numbers fast where their sides are multiples of this


@dataclass(frozen=True, slots=True)
class PrefixSpan:
    """Packed tokens that attend to one stretch of a prefix.

    Attributes:
        start: First packed token.
        stop: One beyond the last.
        layers: Per layer the stretch's keys and values, each (kv heads, stretch tokens, head size).
    """

    start: int
    stop: int
    layers: list[LayerKV]


@dataclass(frozen=True, slots=True)
class RowBucket:
    """Rows of like length, padded to the longest of them for their attention among themselves.

    Attributes:
        gather: int64 (rows, longest row): packed position of each row's tokens, padded with the row's last.
        packed: int64 (tokens,): packed position of each real token.
        padded: int64 (tokens,): position of each real token in the flattened ``gather``.
        bias: float32 (rows or 1, longest row, longest row): 0 where a token may attend, -inf elsewhere; one for all
            rows when none of them branches.
    """

    gather: torch.Tensor
    packed: torch.Tensor
    padded: torch.Tensor
    bias: torch.Tensor


@dataclass(frozen=True, slots=True)
class Chains:
    """Rows of which none branches, as kernels for sequences of different lengths take them.

    Attributes:
        ends: int32 (rows + 1,): 0, and the packed position one beyond each row.
        longest: Tokens of the longest row.
    """

    ends: torch.Tensor
    longest: int


@dataclass(slots=True)
class RowCache:
    """Keys and values of rows that are being continued token by token.

    Attributes:
        layers: Per layer keys and values, each (rows, kv heads, room, head size).
        lengths: int64 (rows,): tokens of each row so far, without the one in work.
    """

    layers: list[LayerKV]
    lengths: torch.Tensor


@dataclass(slots=True)
class TreePlan:
    """How the packed tokens of one forward pass attend.

    Attributes:
        spans: What they attend to before their rows. Spans may nest and follow one another; a token attends to every
            span that covers it.
        buckets: How rows attend within themselves; together they cover every packed token once.
        chains: When not None, rows attend within themselves as these say, and ``buckets`` is empty.
        rows: When not None, packed token r continues row r of this cache, and ``buckets`` is empty.
        capture: When not None, the pass's own keys and values are appended here, layer by layer.
    """

    spans: list[PrefixSpan]
    buckets: list[RowBucket] = field(default_factory=list)
    chains: Chains | None = None
    rows: RowCache | None = None
    capture: list[LayerKV] | None = None

    @property
    def whole(self) -> bool:
        """One bucket that lists the packed tokens in their order."""
        return len(self.buckets) == 1


def tree_plan(
    parents: Sequence[Sequence[int]], spans: list[PrefixSpan], device: torch.device, chains: bool = False
) -> TreePlan:
    """A plan for packed rows.

    Args:
        parents: For each row the parent of each token within the row, -1 for a first token; parents come before their
            children.
        spans: What the rows attend to besides.
        device: Where the plan is used.
        chains: Whether rows that do not branch may be planned as chains.

    Returns:
        The plan; row r's tokens follow those of row r - 1 in the packed sequence.
    """
    lengths = [len(row) for row in parents]
    if chains and not any(map(_branches, parents)):
        ends = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32)
        return TreePlan(spans, chains=Chains(to_device(ends, device), max(lengths)))
    starts = [end - length for end, length in zip(accumulate(lengths), lengths, strict=True)]
    buckets = [_bucket([parents[r] for r in rows], [starts[r] for r in rows], device) for rows in _by_length(lengths)]
    return TreePlan(spans, buckets)


def _by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Row numbers in buckets within which padding at most doubles what attention computes."""
    order = sorted(range(len(lengths)), key=lambda r: lengths[r])
    total = sum(n * n for n in lengths)
    if len(lengths) * lengths[order[-1]] ** 2 <= 2 * total:
        return [list(range(len(lengths)))]
    buckets: list[list[int]] = []
    for r in order:
        if not buckets or lengths[r] > max(_SHORT_ROW, 1.4 * lengths[buckets[-1][0]]):
            buckets.append([])
        buckets[-1].append(r)
    return [sorted(rows) for rows in buckets]


def _bucket(parents: Sequence[Sequence[int]], starts: Sequence[int], device: torch.device) -> RowBucket:
    lengths = torch.tensor([len(row) for row in parents]).unsqueeze(1)
    longest = int(lengths.max())
    if device.type == "cuda":
        longest += -longest % _ALIGNED
    column = torch.arange(longest)
    # Padding repeats the row's own last token: its values must stay out of other rows even when they are NaN.
    gather = torch.tensor(starts).unsqueeze(1) + torch.minimum(column, lengths - 1)
    padded = (column < lengths).flatten().nonzero().squeeze(1)
    allowed = _causal(longest)
    branching = [r for r, row in enumerate(parents) if _branches(row)]
    if branching:
        allowed = allowed.repeat(len(parents), 1, 1)
        for r in branching:
            allowed[r] = _ancestors(parents[r], longest)
    parts = (gather, gather.flatten()[padded], padded, _bias(allowed))
    return RowBucket(*(to_device(part, device) for part in parts))


def _branches(row: Sequence[int]) -> bool:
    return any(parent != i - 1 for i, parent in enumerate(row))


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
