"""Random search: points of the space, each on every search case."""

from __future__ import annotations

import random

from promptopt.programs.program import JudgementProgram
from promptopt.search.baselines.base import SearchTask
from promptopt.search.baselines.full_evaluation import BestInFull

_TRIES = 200


class RandomSearch:
    """Draws points until the budget is gone (Bergstra and Bengio, 2012); no candidate is judged twice."""

    name = "random"

    def search(self, task: SearchTask) -> JudgementProgram:
        """The candidate with the highest AUPRC on the search cases, the seed prompt among them."""
        draw = random.Random(f"random search|{task.seed}")  # noqa: S311 (a reproducible draw, not a secret)
        best = BestInFull(task)
        best.look_at(task.maker.candidate(task.space.seed_point()))
        idle = 0
        while not best.spent and idle < _TRIES:
            point = {name: draw.choice(choices) for name, choices in task.space.dimensions.items()}
            candidate = task.maker.candidate(point)
            idle = idle + 1 if best.knows(candidate) else 0
            best.look_at(candidate)
        return best.program
