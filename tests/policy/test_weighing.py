"""A checklist whose clauses have weights, and thresholds of their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from promptopt.core.case import Label
from promptopt.core.digest import digest_data
from promptopt.policy.model import Action, Clause, Outcome, Rule, When
from promptopt.policy.procedure import Procedure
from promptopt.policy.weighing import ClauseWeights

PROBABILITY = st.floats(0.001, 0.999)


def clause(name, severity, exceptions=()):
    return Clause(
        id=name,
        title=f"clause {name}",
        severity=severity,
        definition="d",
        question=f"Does {name} apply?",
        includes=("i",),
        excludes=("e",),
        exceptions=exceptions,
        action=Action.REMOVE if severity else Action.ALLOW,
    )


def procedure(**changes):
    values = {
        "shape": "checklist",
        "clauses": (clause("V1", 4, ("V3",)), clause("V2", 2), clause("V3", 0)),
        "precedence": ("V1", "V2"),
        "routing": (
            Rule(id="R1", when=When(any=("V1",), none=("V3",)), then=Outcome.VIOLATION),
            Rule(id="R2", when=When(any=("V2",)), then=Outcome.VIOLATION),
            Rule(id="R3", when=When(), then=Outcome.ALLOWED),
        ),
    }
    return Procedure.model_validate({**values, **changes})


def weighted(weights=(1.0, 0.5, 2.0), intercept=-0.5, **thresholds):
    named = dict(zip(("V1", "V2", "V3"), weights, strict=True))
    return procedure(
        aggregate="weighted", weights=ClauseWeights(intercept=intercept, weights=named, thresholds=thresholds)
    )


def logit(p):
    return np.log(p / (1 - p))


@settings(deadline=None)
@given(st.tuples(PROBABILITY, PROBABILITY, PROBABILITY))
def test_it_is_the_sigmoid_of_the_weighted_log_odds_with_exceptions_against(p):
    answers = {name: np.array([value]) for name, value in zip(("V1", "V2", "V3"), p, strict=True)}
    expected = -0.5 + logit(p[0]) + 0.5 * logit(p[1]) - 2 * logit(p[2])
    assert weighted().score(answers) == pytest.approx([1 / (1 + np.exp(-expected))])


def test_an_unjudged_answer_leaves_the_case_unjudged_and_company_changes_nothing():
    random = np.random.default_rng(0)
    table = {name: random.random(50) for name in ("V1", "V2", "V3")}
    table["V2"][7] = np.nan
    whole = weighted().score(table)
    assert np.flatnonzero(np.isnan(whole)).tolist() == [7]
    alone = [weighted().score({name: column[row : row + 1] for name, column in table.items()})[0] for row in range(50)]
    np.testing.assert_array_equal(whole, alone)
    assert ((whole > 0) & (whole < 1))[~np.isnan(whole)].all()


def test_without_weights_it_is_noisy_or():
    random = np.random.default_rng(0)
    answers = {name: random.random(20) for name in ("V1", "V2", "V3")}
    expected = procedure(aggregate="noisy_or").score(answers)
    np.testing.assert_array_equal(procedure(aggregate="weighted").score(answers), expected)


def test_thresholds_decide_which_clause_is_cited_and_which_rule_fires():
    answers = {"V1": 0.3, "V2": 0.6, "V3": 0.1}
    plain = weighted().verdict(answers, 0.9, 0.5)
    assert (plain.clause, plain.rule) == ("V2", "R2")
    moved = weighted(V1=0.2).verdict(answers, 0.9, 0.5)
    assert (moved.label, moved.clause, moved.rule, moved.severity) == (Label.VIOLATION, "V1", "R1", 4)
    lifted = weighted(V1=0.2, V3=0.05).verdict(answers, 0.9, 0.5)
    assert (lifted.clause, lifted.rule) == ("V2", "R2")
    allowed = weighted(V3=0.05).verdict(answers, 0.1, 0.5)
    assert (allowed.label, allowed.clause, allowed.severity) == (Label.ALLOWED, "V3", 0)


@settings(deadline=None)
@given(st.floats(0, 1), st.floats(0.001, 0.999))
def test_a_clause_applies_from_its_threshold_on(p, threshold):
    weights = ClauseWeights(intercept=0.0, weights={"V1": 1.0}, thresholds={"V1": threshold})
    moved = weights.evened({"V1": p})["V1"]
    assert 0 <= moved <= 1
    if abs(p - threshold) > 1e-9:
        assert (moved >= 0.5) == (p >= threshold)


def test_procedures_without_weights_are_written_as_before_and_with_them_read_back():
    plain = procedure()
    assert "weights" not in plain.model_dump()
    assert digest_data(plain) == digest_data({k: v for k, v in plain.model_dump(mode="json").items() if k != "weights"})
    again = Procedure.model_validate_json(weighted(V1=0.3).model_dump_json())
    assert again == weighted(V1=0.3)
    assert digest_data(again) != digest_data(weighted())


def test_weights_must_fit_the_procedure():
    some = {"intercept": 0.0, "weights": {"V1": 1.0, "V2": 1.0}}
    with pytest.raises(ValidationError, match="not of the procedure's clauses"):
        procedure(aggregate="weighted", weights=some)
    every = {"intercept": 0.0, "weights": {"V1": 1.0, "V2": 1.0, "V3": 1.0}}
    with pytest.raises(ValidationError, match="whose aggregate is `weighted`"):
        procedure(aggregate="routing", weights=every)
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        procedure(aggregate="weighted", weights={**every, "weights": {**every["weights"], "V2": -1.0}})
    with pytest.raises(ValidationError, match="thresholds of clauses without a weight"):
        procedure(aggregate="weighted", weights={**every, "thresholds": {"V9": 0.5}})
