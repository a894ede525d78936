"""The seed prompt as it is."""

from __future__ import annotations

from promptopt.programs.program import JudgementProgram
from promptopt.search.baselines.base import SearchTask


class SeedPrompt:
    """Searches nothing: what a search is worth is measured from here."""

    name = "seed"

    def search(self, task: SearchTask) -> JudgementProgram:
        """The prompt that every method starts from; spends nothing."""
        return task.seed_program()
