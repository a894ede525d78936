"""The severity ladder: its question, and what a distribution over it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.core.case import Label
from promptopt.core.verdict import Verdict
from promptopt.policy.grading import (
    SEVERITY_QUESTION,
    ladder_of,
    likely_severity,
    rungs,
    severity_question,
    violation_probability,
)
from promptopt.policy.procedure import Procedure

SEVERITIES = (0, 1, 3, 4)
ROWS = st.lists(st.floats(0.001, 1.0), min_size=4, max_size=4).map(lambda r: tuple(np.array(r) / sum(r)))


@pytest.fixture
def graded(policy):
    return Procedure.of(policy, "graded")


def _table(*rows):
    return {SEVERITY_QUESTION: np.array(rows, dtype=np.float64)}


def test_the_rungs_are_the_severities_that_clauses_have(policy):
    assert rungs(policy.clauses) == tuple(sorted({0, *(c.severity for c in policy.violating)}))
    assert rungs(policy.violating)[0] == 0, "no violation is always an answer"


def test_every_rung_names_its_clauses(policy):
    words = ("fine", "a", "b", "c", "d")
    ladder = ladder_of(policy.clauses, words)
    asked = severity_question(policy, ladder)
    assert asked.startswith(policy.question)
    assert "- fine: it does not violate the policy" in asked
    for clause in policy.violating:
        (line,) = [one for one in asked.splitlines() if one.startswith(f"- {words[clause.severity]}:")]
        assert clause.title in line


def test_the_score_is_the_probability_of_any_violation(graded):
    rows = np.random.default_rng(0).dirichlet(np.ones(len(graded.severities)), size=20)
    rows[3] = np.nan
    np.testing.assert_allclose(graded.score(_table(*rows)), 1.0 - rows[:, -1], atol=1e-12)


def test_the_expected_severity_puts_the_severe_before_the_likely(policy):
    by_chance, by_severity = (
        Procedure.of(policy, "graded", grade_score=score) for score in ("violation", "expected_severity")
    )
    severities = by_chance.severities
    mild, severe = np.zeros(len(severities)), np.zeros(len(severities))
    mild[-2:], severe[[0, -1]] = [0.7, 0.3], [0.5, 0.5]
    answers = _table(mild, severe)
    assert np.diff(by_chance.score(answers))[0] < 0
    expected = [0.7 * severities[1] / 4, 0.5 * severities[-1] / 4]
    np.testing.assert_allclose(by_severity.score(answers), expected)
    assert expected[1] > expected[0]


def test_scores_do_not_depend_on_the_batch(graded):
    rows = np.random.default_rng(0).dirichlet(np.ones(len(graded.severities)), size=300)
    alone = [graded.score(_table(row))[0] for row in rows]
    np.testing.assert_array_equal(graded.score(_table(*rows)), alone)


@given(ROWS)
def test_the_likely_severity_has_the_least_expected_error_given_a_violation(row):
    given_violation = list(zip((4, 3, 1), row, strict=False))

    def error(severity):
        return sum(p * abs(severity - s) for s, p in given_violation)

    found = likely_severity(row, SEVERITIES)
    assert error(found) <= min(error(s) for s in range(1, 5)) + 1e-12


def test_of_two_medians_the_severer_is_taken():
    assert likely_severity((0.25, 0.0, 0.25, 0.5), SEVERITIES) == 4
    assert likely_severity((0.0, 0.0, 0.0, 1.0), SEVERITIES) == 1, (
        "a threshold of 0 makes a violation of it all the same"
    )


def test_a_verdict_names_the_severity_and_no_clause(graded):
    width = len(graded.severities)
    row = (0.05, *(0.0,) * (width - 3), 0.25, 0.7)
    violation = graded.verdict({SEVERITY_QUESTION: row}, 0.3, 0.3)
    assert violation == Verdict(label=Label.VIOLATION, probability=0.3, severity=graded.severities[1])
    allowed = graded.verdict({SEVERITY_QUESTION: row}, 0.3, 0.31)
    assert allowed == Verdict(label=Label.ALLOWED, probability=0.3, severity=0)
    assert not graded.verdict({SEVERITY_QUESTION: (np.nan,) * width}, np.nan, 0.5).is_judged


def test_two_rungs_are_one_probability(policy):
    severest = max(c.severity for c in policy.violating)
    kept = tuple(c for c in policy.clauses if c.severity in (0, severest))
    procedure = Procedure.of(policy, "graded").model_copy(update={"clauses": kept})
    assert procedure.severities == (0, severest)
    np.testing.assert_array_equal(procedure.score({SEVERITY_QUESTION: np.array([0.2, np.nan])}), [0.2, np.nan])
    assert procedure.verdict({SEVERITY_QUESTION: 0.6}, 0.6, 0.5).severity == severest


def test_a_procedure_that_grades_nothing_is_written_as_before_there_were_grades(policy):
    for shape in ("direct", "checklist"):
        assert set(Procedure.of(policy, shape).model_dump()) == {
            "shape", "clauses", "precedence", "routing", "aggregate"
        }  # fmt: skip
    chosen = Procedure.of(policy, "graded", grade_score="expected_severity")
    assert Procedure.model_validate_json(chosen.model_dump_json()) == chosen


def test_rounding_never_lifts_a_probability_above_one():
    assert violation_probability(np.array([[0.6, 0.4 + 1e-9, 0.0]]))[0] == 1.0
