"""Random search: points of the space, each on every search case."""

from __future__ import annotations

import random

import numpy as np

from promptopt.search.baselines.base import FoundProgram, SearchTask
from promptopt.search.baselines.full_evaluation import BestInFull
from promptopt.search.baselines.winner import found_program
from promptopt.search.objective import ObjectiveConfig
from promptopt.search.winner import WinnerConfig

_TRIES = 200


class RandomSearch:
    """Draws points until the budget is gone (Bergstra and Bengio, 2012); no candidate is judged twice."""

    name = "random"

    def search(self, task: SearchTask) -> FoundProgram:
        """The candidate with the highest AUPRC on the search cases, the seed prompt among them."""
        return self.explore(task).program

    def explore(self, task: SearchTask) -> BestInFull:
        """Judges candidates until the budget is gone, the seed prompt first."""
        draw = random.Random(f"random search|{task.seed}")  # noqa: S311 (a reproducible draw, not a secret)
        best = BestInFull(task)
        best.look_at(task.maker.candidate(task.space.seed_point()))
        idle = 0
        while not best.spent and idle < _TRIES:
            point = {name: draw.choice(choices) for name, choices in task.space.dimensions.items()}
            candidate = task.maker.candidate(point)
            idle = idle + 1 if best.knows(candidate) else 0
            best.look_at(candidate)
        return best


class RandomJury(RandomSearch):
    """Random search whose winner is a jury, chosen as the package's own is: what a jury does without races.

    Args:
        jurors: Prompts in the jury.
    """

    name = "random_jury"

    def __init__(self, jurors: int = 3) -> None:
        self._jurors = jurors

    def search(self, task: SearchTask) -> FoundProgram:
        """A jury: the seed prompt, unless the best stands out from it, and the best others."""
        judged = self.explore(task).judged
        order = sorted(range(len(judged)), key=lambda i: -np.nan_to_num(judged[i][1]))
        ranked = [(judged[i][0], judged[i][2]) for i in order]
        if not ranked:
            return task.seed_program()
        return found_program(task, ranked, order.index(0), ObjectiveConfig(), WinnerConfig(jury=self._jurors))
