"""Token trees: what is computed once for many queries.

A batch of queries is divided into a shared prefix (everything before the first case text) and rows. A row is a small
tree of tokens: the case's text as the trunk, one branch per question asked about it, and below each branch the inner
nodes of the label trie when labels share their first tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from promptopt.engines.tokenization import TokenIds

_KNOWN_LABEL_SETS = 256


@dataclass(slots=True)
class TokenTree:
    """Tokens with parents; the parent of a first token is -1, the end of the shared prefix."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    _children: dict[tuple[int, int], int] = field(default_factory=dict)

    def extend(self, node: int, ids: Sequence[int]) -> int:
        """Walks from a node along the ids, adding what is missing, and returns the last node."""
        if node == len(self.tokens) - 1:
            return self._append(node, ids)  # nothing can follow the newest node yet
        children = self._index()
        for i, token in enumerate(ids):
            child = children.get((node, token))
            if child is None:
                return self._append(node, ids[i:])
            node = child
        return node

    def _append(self, node: int, ids: Sequence[int]) -> int:
        """Adds a chain of new nodes below a node and returns the last."""
        if not ids:
            return node
        first = len(self.tokens)
        depth = 0 if node < 0 else self.depths[node] + 1
        self.tokens.extend(ids)
        self.parents.append(node)
        self.parents.extend(range(first, first + len(ids) - 1))
        self.depths.extend(range(depth, depth + len(ids)))
        return len(self.tokens) - 1

    def _index(self) -> dict[tuple[int, int], int]:
        """Children by parent and token; only trees that branch ever need it."""
        known = len(self._children)
        for node in range(known, len(self.tokens)):
            self._children[self.parents[node], self.tokens[node]] = node
        return self._children

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True, slots=True)
class LabelStep:
    """One decision on the way to a label: at this node, this token, among these."""

    node: int
    token: int
    among: TokenIds


@dataclass(frozen=True, slots=True)
class _Decision:
    """A decision of a label trie, wherever the trie stands.

    Attributes:
        after: Tokens from the trie's root to the node.
        token: The token that leads to the label.
        among: The tokens that may follow there.
    """

    after: TokenIds
    token: int
    among: TokenIds


def add_label_steps(tree: TokenTree, end: int, labels: Sequence[TokenIds]) -> list[list[LabelStep]]:
    """Adds a label trie's inner nodes below ``end``.

    Args:
        tree: The row's tree, extended in place.
        end: Node after which the judge answers.
        labels: Token ids of the labels; none the beginning of another.

    Returns:
        For each label the decisions whose probabilities multiply to the label's. Where the labels that remain agree
        on the next token there is nothing to decide, so labels with different first tokens cost no extra token.
    """
    return [
        [LabelStep(tree.extend(end, d.after) if d.after else end, d.token, d.among) for d in path]
        for path in _decisions(tuple(labels))
    ]


@lru_cache(maxsize=_KNOWN_LABEL_SETS)
def _decisions(labels: tuple[TokenIds, ...]) -> tuple[tuple[_Decision, ...], ...]:
    """For each label its decisions, the first one first; remembered, as every query of a prompt has the same labels."""
    paths = []
    for label in labels:
        path: list[_Decision] = []
        rest: Sequence[TokenIds] = labels
        for depth, token in enumerate(label):
            among = tuple(sorted({other[depth] for other in rest}))
            if len(among) > 1:
                path.append(_Decision(label[:depth], token, among))
            rest = [other for other in rest if other[depth] == token]
            if len(rest) == 1:
                break
        paths.append(tuple(path))
    return tuple(paths)
