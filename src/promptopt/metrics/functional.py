"""Accuracy function by function, as HateCheck reports it (Röttger et al., 2021)."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence

from promptopt.core.model import FrozenModel
from promptopt.metrics.intervals import Interval, wilson_interval


class FunctionResult(FrozenModel):
    """How a judge does at one function.

    Attributes:
        function: Its name.
        cases: Cases that test it.
        violations: How many of them violate.
        correct: Cases with a verdict, and the right one.
        unjudged: Cases without a verdict; neither right nor wrong.
        accuracy: Share of correct ones among those with a verdict, with Wilson's interval; NaN where there is none.
        failed: Ids of the cases with a wrong verdict.
    """

    function: str
    cases: int
    violations: int
    correct: int
    unjudged: int
    accuracy: Interval
    failed: tuple[str, ...]


class FunctionalReport(FrozenModel):
    """Results by function, the worst first, and over all cases.

    Attributes:
        overall: All cases, under the name ``all``.
        functions: Each function; those without any verdict come first, then by accuracy.
    """

    overall: FunctionResult
    functions: tuple[FunctionResult, ...]

    def reaches(self, minimum: float) -> bool:
        """Whether the share of correct verdicts among *all* cases is at least this; a missing verdict is no success."""
        return self.overall.correct >= minimum * self.overall.cases


def accuracy_by_function(
    ids: Sequence[str], functions: Sequence[str], gold: Sequence[bool], said: Sequence[bool | None]
) -> FunctionalReport:
    """Counts right, wrong and missing verdicts by function.

    Args:
        ids: Case ids.
        functions: The function that each case tests.
        gold: Whether each case violates.
        said: Whether the judge calls it a violation; None where it gives no verdict.

    Returns:
        The report.

    Raises:
        ValueError: The sequences have different lengths, or are empty.
    """
    rows: dict[str, list[tuple[str, bool, bool | None]]] = defaultdict(list)
    everything = []
    for case, function, truth, verdict in zip(ids, functions, gold, said, strict=True):
        rows[function].append((case, truth, verdict))
        everything.append((case, truth, verdict))
    if not everything:
        raise ValueError("there are no cases")
    results = [_result(function, cases) for function, cases in rows.items()]
    return FunctionalReport(overall=_result("all", everything), functions=tuple(sorted(results, key=_worst_first)))


def _worst_first(result: FunctionResult) -> tuple[float, float, str]:
    point = -1.0 if math.isnan(result.accuracy.point) else result.accuracy.point
    return point, result.accuracy.low, result.function


def _result(function: str, rows: Sequence[tuple[str, bool, bool | None]]) -> FunctionResult:
    correct = sum(truth is verdict for _, truth, verdict in rows)
    unjudged = sum(verdict is None for _, _, verdict in rows)
    return FunctionResult(
        function=function,
        cases=len(rows),
        violations=sum(truth for _, truth, _ in rows),
        correct=correct,
        unjudged=unjudged,
        accuracy=wilson_interval(correct, len(rows) - unjudged),
        failed=tuple(case for case, truth, verdict in rows if verdict is not None and verdict is not truth),
    )
