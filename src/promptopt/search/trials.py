"""From what was measured of a candidate to the record of its trial."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from promptopt.core.candidate import Candidate, Choice
from promptopt.search.evaluation import Evaluation
from promptopt.search.study import TrialRecord


def trial_record(
    number: int,
    candidate: Candidate,
    evaluation: Evaluation,
    rungs: Sequence[float],
    values: Sequence[float],
    *,
    complete: bool,
    point: Mapping[str, Choice] | None = None,
    source: str = "tpe",
) -> TrialRecord:
    """The record of a trial.

    Args:
        number: Optuna's number.
        candidate: The candidate.
        evaluation: Its scores on the cases that it was judged on.
        rungs: First objective after each block; empty when it could not be measured.
        values: The objectives' values.
        complete: Whether it was judged on every search case.
        point: The point that was proposed.
        source: Name of the proposer.

    Returns:
        The record.
    """
    metrics = {name: value if math.isfinite(value) else None for name, value in evaluation.measured.metrics().items()}
    return TrialRecord(
        number=number,
        candidate=candidate,
        complete=complete,
        values=tuple(values) if rungs else (),
        rungs=tuple(rungs),
        metrics=metrics,
        cases=len(evaluation.cases),
        unjudged=evaluation.measured.summary.unjudged,
        unjudged_reason=next(iter(evaluation.answers.unjudged.values()), None),
        point=dict(point or {}),
        source=source,
    )
