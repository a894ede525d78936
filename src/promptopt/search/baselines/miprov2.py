"""DSPy's MIPROv2 (Opsahl-Ong et al., 2024, arXiv 2406.11695) on the seed prompt's program."""

from __future__ import annotations

from dspy.teleprompt import MIPROv2

from promptopt.programs.program import JudgementProgram
from promptopt.search.baselines.base import SearchTask
from promptopt.search.baselines.dspy_bridge import closeness, examples, optimising, within_budget, writer

_CANDIDATES, _DEMONSTRATIONS = 6, 4
_MINIBATCH = 35


class MiproV2:
    """Instructions that the judge's own model writes, demonstrations that it got right, TPE over both.

    Minibatches of 35 and a full evaluation after every five, as by default; as many trials as the budget carries.
    Summaries of data and program are left out: they would be written by the judge, too, at a minute of generation each.
    """

    name = "miprov2"

    def search(self, task: SearchTask) -> JudgementProgram:
        """The program that MIPROv2 returns, or the best that it had evaluated in full when the budget ended it."""
        program = task.seed_program()
        with optimising(task, program) as (client, seen):
            optimiser = MIPROv2(
                metric=closeness,
                prompt_model=writer(task),
                task_model=client,
                auto=None,
                num_candidates=_CANDIDATES,
                num_threads=1,
                seed=task.seed + 1,  # DSPy takes 0 for "none given"
                metric_threshold=0.5,
                verbose=False,
            )
            return within_budget(
                lambda: optimiser.compile(
                    program,
                    trainset=examples(task.pool),
                    valset=examples(task.cases),
                    num_trials=max(1, task.meter.left // _MINIBATCH),
                    max_bootstrapped_demos=_DEMONSTRATIONS,
                    max_labeled_demos=_DEMONSTRATIONS,
                    minibatch=len(task.cases) > _MINIBATCH,
                    minibatch_size=min(_MINIBATCH, len(task.cases)),
                    program_aware_proposer=False,
                    data_aware_proposer=False,
                ),
                seen,
                program,
            )
