"""What every search method owes its contract; tests call :func:`check_search_method` with a fresh task at a time.

See :mod:`promptopt.search.baselines.base`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from promptopt.search.baselines.base import FoundProgram, SearchMethod, SearchTask

MakeTask = Callable[[int, int], SearchTask]


def check_search_method(make_method: Callable[[], SearchMethod], make_task: MakeTask) -> None:
    """Runs every check.

    Args:
        make_method: A new method.
        make_task: A new task from a number of judgements and a seed, with an empty meter and store.

    Raises:
        AssertionError: A check fails; says which.
    """
    for check in (_stays_within_budget, _repeats_itself, _ends_on_a_tiny_budget):
        check(make_method, make_task)


def _stays_within_budget(make_method: Callable[[], SearchMethod], make_task: MakeTask) -> None:
    task = make_task(200, 0)
    program = make_method().search(task)
    _hold(task.meter.spent <= 200, f"{task.meter.spent} judgements spent of 200")
    _can_be_scored(program, make_task(10**6, 0))


def _repeats_itself(make_method: Callable[[], SearchMethod], make_task: MakeTask) -> None:
    first, second = make_method().search(make_task(150, 3)), make_method().search(make_task(150, 3))
    digests = [[prompt.digest for prompt in program.lower()] for program in (first, second)]
    _hold(digests[0] == digests[1], "equal seeds gave different prompts")


def _ends_on_a_tiny_budget(make_method: Callable[[], SearchMethod], make_task: MakeTask) -> None:
    task = make_task(5, 0)
    program = make_method().search(task)
    _hold(task.meter.spent <= 5, f"{task.meter.spent} judgements spent of 5")
    _can_be_scored(program, make_task(10**6, 0))


def _can_be_scored(program: FoundProgram, task: SearchTask) -> None:
    scores = task.meter.scores(program.lower(), program.procedure, task.cases)
    _hold(scores.shape == (len(task.cases),), f"scores have the shape {scores.shape}")
    _hold(bool(np.isfinite(scores).any()), "the program that was returned gets no verdict at all")


def _hold(condition: bool, otherwise: str) -> None:
    if not condition:
        raise AssertionError(otherwise)
