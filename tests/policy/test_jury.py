"""Opinions are pooled on their own scales, and a jury decides as its members do where they agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from pydantic import ValidationError

from promptopt.core.case import Label
from promptopt.policy.jury import JuryProcedure, LogOddsScale, log_odds, pool
from promptopt.policy.procedure import DIRECT_QUESTION, Procedure

SCORES = nps.arrays(np.float64, st.integers(2, 12), elements=st.floats(0.001, 0.999))


@pytest.fixture
def jury(policy):
    direct, checklist = Procedure.of(policy, "direct"), Procedure.of(policy, "checklist")
    return JuryProcedure.of([direct, checklist], [LogOddsScale(centre=0.0, spread=1.0)] * 2)


@settings(deadline=None)
@given(SCORES)
def test_a_prompt_that_is_asked_twice_ranks_as_it_does_alone(scores):
    scale = LogOddsScale.of(scores)
    pooled = pool([scores, scores], [scale, scale])
    assert ((pooled > 0) & (pooled < 1)).all()
    order = np.argsort(scores, kind="stable")
    assert (np.diff(pooled[order]) >= -1e-12).all()


@settings(deadline=None)
@given(SCORES, st.floats(0.2, 4.0), st.floats(-3.0, 3.0))
def test_louder_words_count_no_more(scores, louder, shift):
    """Log-odds that are stretched and shifted, and not clipped, are the same opinion."""
    said = 1 / (1 + np.exp(-(louder * log_odds(scores) + shift)))
    alike = (np.ptp(scores) > 1e-3) & (np.abs(log_odds(said)) < 13).all()
    if alike:
        mine, theirs = LogOddsScale.of(scores).apply(scores), LogOddsScale.of(said).apply(said)
        np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_a_case_that_one_member_leaves_unjudged_is_unjudged():
    scale = LogOddsScale(centre=0.0, spread=1.0)
    pooled = pool([np.array([0.2, np.nan, 0.9]), np.array([0.4, 0.5, 0.8])], [scale, scale])
    assert np.isnan(pooled).tolist() == [False, True, False]


def test_scales_leave_unjudged_cases_out_and_need_a_judged_one():
    assert LogOddsScale.of(np.array([0.5, np.nan])).centre == 0.0
    assert LogOddsScale.of(np.array([0.3, 0.3])).spread > 0
    with pytest.raises(ValueError, match="judged case"):
        LogOddsScale.of(np.array([np.nan]))


def test_members_are_asked_their_own_questions(jury, policy):
    names = [clause.id for clause in policy.clauses]
    assert jury.questions == (f"j1.{DIRECT_QUESTION}", *(f"j2.{name}" for name in names))
    answers = {name: np.array([0.7]) for name in jury.questions}
    direct, checklist = (m.procedure for m in jury.members)
    parts = [direct.score({DIRECT_QUESTION: np.array([0.7])}), checklist.score({n: np.array([0.7]) for n in names})]
    assert jury.score(answers) == pytest.approx(pool(parts, [m.scale for m in jury.members]))


def test_a_verdict_gives_the_reasons_of_the_member_that_has_some(jury, policy):
    violating = policy.precedence[0]
    answers = dict.fromkeys(jury.questions, 0.05) | {"j1.violation": 0.6, f"j2.{violating}": 0.95}
    verdict = jury.verdict(answers, score=0.6, threshold=0.5)
    assert (verdict.label, verdict.clause, verdict.probability) == (Label.VIOLATION, violating, 0.6)
    assert verdict.rule is not None
    assert jury.verdict(answers, score=0.4, threshold=0.5).label is Label.ALLOWED
    assert not jury.verdict(answers, score=float("nan"), threshold=0.5).is_judged


def test_a_jury_survives_a_file(jury):
    assert JuryProcedure.model_validate_json(jury.model_dump_json()) == jury


def test_one_member_or_two_of_one_name_are_no_jury(jury):
    first = jury.members[0]
    with pytest.raises(ValidationError):
        JuryProcedure(members=(first,))
    with pytest.raises(ValidationError, match="one name"):
        JuryProcedure(members=(first, first))
