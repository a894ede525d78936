"""Grading: one question whose closed answers are the rungs of the severity ladder, and what their distribution says.

A distribution over the ladder has one column per rung, the severest first and *no violation* last, as the labels of the
lowered prompt have.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from promptopt.policy.model import Clause, Policy

FloatArray = npt.NDArray[np.float64]
Ladder = tuple[tuple[int, str], ...]
"""Severity and its word, from severity 0 upwards."""

SEVERITY_QUESTION = "severity"
SEVERITY_WORDS = ("none", "low", "medium", "high", "critical")
MAX_SEVERITY = 4
_ASKED = "How severely? Choose from:"
_NO_VIOLATION = "it does not violate the policy"
_HALF = 0.5


def rungs(clauses: Sequence[Clause]) -> tuple[int, ...]:
    """Severity 0 and those that clauses have, rising: a severity that no clause has is no answer."""
    return tuple(sorted({0, *(clause.severity for clause in clauses)}))


def ladder_of(clauses: Sequence[Clause], words: Sequence[str] = SEVERITY_WORDS) -> Ladder:
    """The rungs of a policy with their words.

    Args:
        clauses: The policy's clauses.
        words: One word for each severity from 0 to 4.
    """
    return tuple((severity, words[severity]) for severity in rungs(clauses))


def severity_question(policy: Policy, ladder: Ladder) -> str:
    """What a judge is asked: the policy's own question, then every rung with the clauses that stand on it."""
    lines = [policy.question, _ASKED]
    for severity, word in ladder:
        titles = [clause.title for clause in policy.violating if clause.severity == severity]
        lines.append(f"- {word}: {'; '.join(titles) if severity else _NO_VIOLATION}")
    return "\n".join(lines)


def distribution(answers: FloatArray) -> FloatArray:
    """Answers as a distribution over the ladder.

    Args:
        answers: float64 of shape (cases, rungs), or of shape (cases,) with the probability of the upper of two rungs.

    Returns:
        float64 of shape (cases, rungs).
    """
    table = np.asarray(answers, dtype=np.float64)
    return table if table.ndim > 1 else np.stack([table, 1.0 - table], axis=1)


def violation_probability(table: FloatArray) -> FloatArray:
    """Probability of a severity of 1 or more; float64 of shape (cases,), in [0, 1], NaN where unjudged."""
    total = np.zeros(len(table))
    for column in table.T[:-1]:  # one at a time: a reduction may add in another order for another batch
        total = total + column
    return np.minimum(total, 1.0)


def expected_severity(table: FloatArray, severities: Sequence[int]) -> FloatArray:
    """Mean severity; float64 of shape (cases,), in [0, 4], NaN where unjudged.

    Args:
        table: Distribution over the ladder, (cases, rungs), the severest first.
        severities: The rungs, rising.
    """
    total = np.zeros(len(table))
    for severity, column in zip(reversed(severities), table.T, strict=True):
        total = total + severity * column
    return np.minimum(total, float(severities[-1]))


def likely_severity(row: Sequence[float], severities: Sequence[int]) -> int:
    """The severity of a case that is held to be a violation: the median of its distribution given a violation.

    The median minimises the expected absolute error (Gneiting 2011, Making and Evaluating Point Forecasts, Journal of
    the American Statistical Association 106). Of two medians the severer one is taken.

    Args:
        row: Probabilities of the rungs, the severest first.
        severities: The rungs, rising.

    Returns:
        1 to 4.
    """
    violating = list(zip(reversed(severities), row, strict=True))[:-1]
    half = _HALF * sum(probability for _, probability in violating)
    reached = 0.0
    for severity, probability in violating:
        reached += probability
        if reached >= half and reached > 0:
            return severity
    return violating[-1][0]
