"""From candidates judged in full to the program that a search returns."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from promptopt.metrics.arrays import FloatArray
from promptopt.policy.jury import LogOddsScale
from promptopt.programs.jury import PromptJury
from promptopt.programs.program import JudgementProgram
from promptopt.search.baselines.base import FoundProgram, SearchTask
from promptopt.search.objective import ObjectiveConfig
from promptopt.search.weighing import is_unfitted, weigh
from promptopt.search.winner import SearchScores, WinnerConfig, choose_winner


def found_program(
    task: SearchTask,
    ranked: Sequence[tuple[JudgementProgram, FloatArray]],
    seed_rank: int | None,
    objective: ObjectiveConfig,
    config: WinnerConfig,
) -> FoundProgram:
    """The winner by :func:`promptopt.search.winner.choose_winner`: one program, or a jury.

    Args:
        task: What was searched on.
        ranked: Programs judged on all search cases with their scores, (cases,), the best first.
        seed_rank: The seed prompt's place among them; None where it is not there.
        objective: What the search is for.
        config: Size of the jury, level of the lead.
    """
    scores = SearchScores(
        labels=np.array([case.is_violation for case in task.cases], dtype=np.bool_),
        groups=[case.group for case in task.cases],
        ranked=[scored for _, scored in ranked],
        seed_rank=seed_rank,
        crossfitted=[is_unfitted(program.procedure) for program, _ in ranked],
    )
    members = [ranked[place] for place in choose_winner(scores, objective, config).members]
    if len(members) == 1:
        return members[0][0]
    for program, _ in members:
        if is_unfitted(program.procedure):
            answers = task.meter.answers(program.lower(), task.cases)
            program.procedure = weigh(program.procedure, answers.probabilities, task.cases)
    return PromptJury([program for program, _ in members], [LogOddsScale.of(scored) for _, scored in members])
