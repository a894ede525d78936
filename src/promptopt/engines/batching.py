"""From prepared queries to batches: what is shared is found here, and rows of like length are put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from promptopt.engines.tokenization import TokenIds
from promptopt.engines.trie import LabelStep, PrefixChunks, TokenTree, add_label_steps


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """One query as tokens.

    Attributes:
        number: Its row in the scores.
        prefix: Everything before the first case text.
        trunk: From there to the last case text.
        branch: What follows, up to the judge's answer.
        labels: Token ids of the labels.
    """

    number: int
    prefix: PrefixChunks
    trunk: TokenIds
    branch: TokenIds
    labels: tuple[TokenIds, ...]


@dataclass(slots=True)
class Row:
    """The queries about one case after one prefix.

    Attributes:
        tree: The tokens that answer them.
        queries: For each query its number, and for each of its labels the decisions that lead to it.
    """

    tree: TokenTree = field(default_factory=TokenTree)
    queries: list[tuple[int, list[list[LabelStep]]]] = field(default_factory=list)

    @property
    def decision_nodes(self) -> list[int]:
        """The tree nodes whose hidden states the decisions need."""
        return sorted({step.node for _, labels in self.queries for path in labels for step in path})


def group_rows(queries: Iterable[PreparedQuery]) -> dict[PrefixChunks, list[Row]]:
    """Rows by shared prefix, both in order of first appearance."""
    by_prefix: dict[PrefixChunks, dict[TokenIds, Row]] = {}
    for query in queries:
        row = by_prefix.setdefault(query.prefix, {}).setdefault(query.trunk, Row())
        end = row.tree.extend(row.tree.extend(-1, query.trunk), query.branch)
        row.queries.append((query.number, add_label_steps(row.tree, end, query.labels)))
    return {prefix: list(rows.values()) for prefix, rows in by_prefix.items()}


def cut_batches(rows: Sequence[Row], batch_tokens: int) -> Iterator[list[Row]]:
    """Rows sorted by length, in batches of at most ``batch_tokens`` tokens (a longer row goes alone)."""
    current: list[Row] = []
    size = 0
    for row in sorted(rows, key=lambda r: len(r.tree)):
        # Attention within rows is padded to the longest row, which is the next one.
        padded = (len(current) + 1) * len(row.tree)
        if current and (size + len(row.tree) > batch_tokens or padded > 2 * batch_tokens):
            yield current
            current, size = [], 0
        current.append(row)
        size += len(row.tree)
    if current:
        yield current
