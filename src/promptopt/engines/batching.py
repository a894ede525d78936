"""From prepared queries to batches: what is shared is found here, and rows of like length are put together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from promptopt.engines.prefixes import Prefix
from promptopt.engines.tokenization import TokenIds
from promptopt.engines.trie import LabelStep, TokenTree, add_label_steps


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
    prefix: Prefix
    trunk: TokenIds
    branch: TokenIds
    labels: tuple[TokenIds, ...]


@dataclass(slots=True)
class Row:
    """The queries about one case after one prefix.

    Attributes:
        prefix: What comes before the case.
        tree: The tokens that answer them.
        queries: For each query its number, and for each of its labels the decisions that lead to it.
    """

    prefix: Prefix
    tree: TokenTree = field(default_factory=TokenTree)
    queries: list[tuple[int, list[list[LabelStep]]]] = field(default_factory=list)

    @property
    def decision_nodes(self) -> list[int]:
        """The tree nodes whose hidden states the decisions need."""
        return sorted({step.node for _, labels in self.queries for path in labels for step in path})


def group_rows(queries: Iterable[PreparedQuery]) -> dict[TokenIds, list[Row]]:
    """Rows by the tokens of their prefix, prefixes in lexicographic order: those that begin alike are neighbours."""
    by_prefix: dict[Prefix, dict[TokenIds, Row]] = {}
    for query in queries:
        rows = by_prefix.setdefault(query.prefix, {})
        row = rows.get(query.trunk)
        if row is None:
            row = rows[query.trunk] = Row(query.prefix)
        end = row.tree.extend(row.tree.extend(-1, query.trunk), query.branch)
        row.queries.append((query.number, add_label_steps(row.tree, end, query.labels)))
    return {p.tokens: list(by_prefix[p].values()) for p in sorted(by_prefix, key=lambda p: p.tokens)}


def cut_batches(groups: Mapping[TokenIds, list[Row]], batch_tokens: int) -> Iterator[list[Row]]:
    """Batches of at most ``batch_tokens`` tokens (a longer row goes alone).

    Within a prefix rows are sorted by length, so that padding within a batch is small. What a prefix leaves over goes
    into one batch with what the prefixes after it bring: prefixes keep their order and stand together in a batch.
    """
    current: list[Row] = []
    size = 0
    for rows in groups.values():
        for row in sorted(rows, key=lambda r: len(r.tree)):
            if current and size + len(row.tree) > batch_tokens:
                yield current
                current, size = [], 0
            current.append(row)
            size += len(row.tree)
    if current:
        yield current
