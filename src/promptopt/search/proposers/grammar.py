"""The grammar proposer: the seed prompt, then the best points, moved by a dimension or two, without any other model."""

from __future__ import annotations

import random

from promptopt.search.proposers.base import History, Proposal, Tried
from promptopt.search.space import SearchSpace


def best_of(history: History, count: int) -> list[Tried]:
    """The best complete candidates, the best first."""
    complete = [tried for tried in history.tried if tried.complete and tried.goodness == tried.goodness]
    return sorted(complete, key=lambda tried: -tried.goodness)[:count]


class GrammarProposer:
    """Local moves.

    Args:
        space: The search space.
        parents: So many of the best points are moved.
    """

    name = "grammar"

    def __init__(self, space: SearchSpace, parents: int) -> None:
        self._space = space
        self._parents = parents

    def propose(self, history: History, count: int, seed: int) -> list[Proposal]:
        """Points one or two choices away from the best; before there are any, one choice away from the seed prompt.

        People write the seed prompt with some care, and a point drawn from the whole space is on average worse
        (docs/design/verbalizer.md). Its dimensions are moved in the order of the space, the program's shape first.
        """
        draw = random.Random(f"grammar|{seed}")  # noqa: S311 (a reproducible draw, not a secret)
        parents = best_of(history, self._parents)
        open_dimensions = [name for name, choices in self._space.dimensions.items() if len(choices) > 1]
        if not parents:
            return self._around_the_seed(count, draw)
        if not open_dimensions:
            return []
        moved = []
        for _ in range(count):
            parent = draw.choice(parents).proposal
            point = dict(parent.point)
            for name in draw.sample(open_dimensions, min(draw.choice((1, 2)), len(open_dimensions))):
                point[name] = draw.choice([c for c in self._space.dimensions[name] if c != point[name]])
            moved.append(Proposal(point, parent.texts, self.name))
        return moved

    def _around_the_seed(self, count: int, draw: random.Random) -> list[Proposal]:
        seed = self._space.seed_point()
        moved = []
        for name, choices in self._space.dimensions.items():
            others = [choice for choice in choices if choice != seed[name]]
            if others and name in self._space.active(seed):
                moved.append(Proposal({**seed, name: draw.choice(others)}, source=self.name))
        return moved[:count]
