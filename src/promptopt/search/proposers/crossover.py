"""Uniform crossover of the best points, with their texts."""

from __future__ import annotations

import random

from promptopt.search.proposers.base import History, Proposal
from promptopt.search.proposers.grammar import best_of
from promptopt.search.space import SearchSpace

_MUTATION = 0.05


class CrossoverProposer:
    """Each choice, and each written text, from one of two parents; a few choices at random.

    Args:
        space: The search space.
        parents: So many of the best candidates take part.
    """

    name = "crossover"

    def __init__(self, space: SearchSpace, parents: int) -> None:
        self._space = space
        self._parents = parents

    def propose(self, history: History, count: int, seed: int) -> list[Proposal]:
        """Children of two different parents; nothing before there are two."""
        draw = random.Random(f"crossover|{seed}")  # noqa: S311 (a reproducible draw, not a secret)
        parents = best_of(history, self._parents)
        if len(parents) < 2:
            return []
        children = []
        for _ in range(count):
            first, second = (tried.proposal for tried in draw.sample(parents, 2))
            point = {
                name: draw.choice(choices) if draw.random() < _MUTATION else draw.choice((first, second)).point[name]
                for name, choices in self._space.dimensions.items()
            }
            components = sorted({*first.texts, *second.texts})
            chosen = {name: draw.choice((first, second)).texts.get(name) for name in components}
            texts = {name: text for name, text in chosen.items() if text is not None}
            children.append(Proposal(point, texts, self.name))
        return children
