"""DSPy's GEPA (Agrawal et al., 2025, arXiv 2507.19457) on the seed prompt's program."""

from __future__ import annotations

from typing import Any

import dspy

from promptopt.programs.program import JudgementProgram
from promptopt.search.baselines.base import SearchTask
from promptopt.search.baselines.dspy_bridge import closeness, examples, optimising, within_budget, writer


class Gepa:
    """Reflection on small batches by the judge's own model, and a Pareto front over the search cases."""

    name = "gepa"

    def search(self, task: SearchTask) -> JudgementProgram:
        """The program that GEPA returns, or the best that it had evaluated when the budget ended it."""
        program = task.seed_program()
        with optimising(task, program) as (_, seen):
            optimiser = dspy.GEPA(
                metric=_with_feedback,
                max_metric_calls=task.meter.left,
                reflection_lm=writer(task, max_tokens=160),
                num_threads=1,
                seed=task.seed,
                warn_on_score_mismatch=False,
            )
            return within_budget(
                lambda: optimiser.compile(program, trainset=examples(task.pool), valset=examples(task.cases)),
                seen,
                program,
            )


def _with_feedback(
    example: Any, prediction: Any, trace: Any = None, predictor: Any = None, predictor_trace: Any = None
) -> Any:
    """The score and what is wrong, in words."""
    score = closeness(example, prediction)
    gold = "violates the policy" if example.answer else "is allowed"
    if prediction.probability is None:
        return dspy.Prediction(score=0.0, feedback=f"No verdict. The text {gold}.")
    said = f"The judge gave a violation a probability of {prediction.probability:.2f}; the text {gold}."
    return dspy.Prediction(score=score, feedback=said)
