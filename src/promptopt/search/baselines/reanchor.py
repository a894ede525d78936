"""DSPy's ReAnchor: thresholds fitted after the fact on a mean metric."""

from __future__ import annotations

from typing import Any

from dspy.teleprompt.reanchor import ReAnchor as DspyReAnchor

from promptopt.programs.program import JudgementProgram
from promptopt.search.baselines.base import SearchTask
from promptopt.search.baselines.dspy_bridge import examples, optimising, within_budget


class ReAnchor:
    """Changes how probabilities are read and no prompt, so that it ranks cases as the seed prompt does.

    Where thresholds are fitted for every method anyway, as in the benchmark, it can only come out as the seed prompt.
    """

    name = "reanchor"

    def search(self, task: SearchTask) -> JudgementProgram:
        """The seed prompt's program with the thresholds that ReAnchor fitted."""
        program = task.seed_program()
        affordable = task.cases[: task.meter.left]
        if not affordable:
            return program
        with optimising(task, program) as (client, seen):
            program.set_lm(client)
            optimiser = DspyReAnchor(_correct, num_threads=1, require_cache=False)
            return within_budget(lambda: optimiser.compile(program, trainset=examples(affordable)), seen, program)


def _correct(example: Any, prediction: Any, trace: Any = None) -> float:
    return float(prediction.verdict.is_judged and (prediction.probability >= 0.5) == example.answer)
