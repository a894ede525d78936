"""From answers to a probability, and from there to a verdict."""

from __future__ import annotations

from itertools import product
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt.core.case import Label
from promptopt.errors import PolicyError
from promptopt.policy.model import Action, Clause, Outcome, Policy, Rule, When
from promptopt.policy.procedure import DIRECT_QUESTION, MAX_CHECKLIST_CLAUSES, Aggregate, Procedure
from promptopt.policy.routing import every_assignment, first_match

PROBABILITIES = st.floats(0.0, 1.0, allow_nan=False)
WORTH = {Outcome.ALLOWED: 0.0, Outcome.ABSTAIN: 0.5, Outcome.VIOLATION: 1.0, Outcome.ESCALATE: 1.0}


def _decide(rules, applies):
    """The routing, said once more in plain Python."""
    for rule in rules:
        any_holds = not rule.when.any or any(applies[c] for c in rule.when.any)
        if any_holds and all(applies[c] for c in rule.when.all) and not any(applies[c] for c in rule.when.none):
            return rule
    raise AssertionError("the last rule always holds")


def _brute_force(procedure, answers):
    """Sum over every combination of clauses that the routing calls a violation, and half of those it leaves open."""
    ids = [c.id for c in procedure.clauses]
    total = 0.0
    for combination in product((False, True), repeat=len(ids)):
        applies = dict(zip(ids, combination, strict=True))
        chance = np.prod([answers[i] if applies[i] else 1 - answers[i] for i in ids])
        total += WORTH[_decide(procedure.routing, applies).then] * chance
    return total


@st.composite
def procedures(draw):
    """Checklists of two to five clauses under arbitrary rules."""
    size = draw(st.integers(2, 5))
    ids = [f"V{i}" for i in range(size)]
    violating = draw(st.integers(1, size))
    permitting = ids[violating:]
    clauses = tuple(
        Clause(
            id=name,
            title="t",
            severity=draw(st.integers(1, 4)) if i < violating else 0,
            definition="d",
            question="q?",
            includes=("i",),
            excludes=("e",),
            exceptions=tuple(draw(st.sets(st.sampled_from(permitting)))) if i < violating and permitting else (),
            action=Action.REMOVE if i < violating else Action.ALLOW,
        )
        for i, name in enumerate(ids)
    )
    parts = st.lists(st.sampled_from(ids), max_size=2, unique=True).map(tuple)
    conditions = st.builds(When, any=parts, all=parts, none=parts)
    outcomes = st.sampled_from(Outcome)
    rules = draw(st.lists(st.tuples(conditions, outcomes), max_size=4))
    rules.append((When(), draw(outcomes)))
    routing = tuple(Rule(id=f"R{i}", when=when, then=then) for i, (when, then) in enumerate(rules))
    return Procedure(shape="checklist", clauses=clauses, precedence=tuple(ids[:violating]), routing=routing)


@st.composite
def answered(draw):
    procedure = draw(procedures())
    return procedure, {c.id: draw(PROBABILITIES) for c in procedure.clauses}


def _score(procedure, answers):
    return float(procedure.score({name: np.array([p]) for name, p in answers.items()})[0])


@settings(max_examples=100, deadline=None)
@given(answered())
def test_routing_is_the_probability_that_the_rules_conclude_a_violation(given_):
    procedure, answers = given_
    assert _score(procedure, answers) == pytest.approx(_brute_force(procedure, answers), abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(procedures(), st.data())
def test_certain_answers_give_exactly_what_the_rules_say(procedure, data):
    applies = {c.id: data.draw(st.booleans()) for c in procedure.clauses}
    worth = WORTH[_decide(procedure.routing, applies).then]
    assert _score(procedure, {name: float(yes) for name, yes in applies.items()}) == worth


@settings(max_examples=100, deadline=None)
@given(answered(), st.data())
def test_an_unanswered_question_leaves_no_score(given_, data):
    procedure, answers = given_
    silent = data.draw(st.sampled_from(list(answers)))
    for aggregate in get_args(Aggregate):
        found = procedure.model_copy(update={"aggregate": aggregate})
        rows = {name: np.array([p, p]) for name, p in answers.items()}
        rows[silent] = np.array([np.nan, answers[silent]])
        scores = found.score(rows)
        assert np.isnan(scores[0])
        assert not np.isnan(scores[1])
        assert not found.verdict(answers | {silent: np.nan}, scores[0], 0.5).is_judged


@pytest.fixture(scope="module")
def shipped_procedures(shipped_policies):
    return [Procedure.of(policy, "checklist", a) for policy in shipped_policies for a in get_args(Aggregate)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_more_of_a_violation_never_lowers_the_score_and_more_of_an_exception_never_raises_it(shipped_procedures, data):
    procedure = data.draw(st.sampled_from(shipped_procedures))
    answers = {c.id: data.draw(PROBABILITIES) for c in procedure.clauses}
    clause = data.draw(st.sampled_from(procedure.clauses))
    more = answers | {clause.id: data.draw(st.floats(answers[clause.id], 1.0))}
    before, after = _score(procedure, answers), _score(procedure, more)
    assert 0.0 <= before <= 1.0
    if clause.is_violating:
        assert after >= before - 1e-12
    else:
        assert after <= before + 1e-12


def test_routing_agrees_with_sampled_answers(shipped_policies):
    draw = np.random.default_rng(0)
    procedure = Procedure.of(shipped_policies[0], "checklist")
    ids = [c.id for c in procedure.clauses]
    p = draw.uniform(size=len(ids))
    applies = draw.uniform(size=(200_000, len(ids))) < p
    allowed = np.array([rule.then is Outcome.ALLOWED for rule in procedure.routing])
    sampled = 1 - allowed[first_match(procedure.routing, ids, applies)].mean()
    assert _score(procedure, dict(zip(ids, p, strict=True))) == pytest.approx(sampled, abs=0.006)


def test_scores_do_not_depend_on_the_batch(shipped_procedures):
    draw = np.random.default_rng(1)
    for procedure in shipped_procedures:
        rows = {c.id: draw.uniform(size=700) for c in procedure.clauses}
        together = procedure.score(rows)
        alone = [_score(procedure, {name: column[i] for name, column in rows.items()}) for i in (0, 255, 256, 699)]
        np.testing.assert_array_equal(together[[0, 255, 256, 699]], alone)
    assert procedure.score({name: column[:0] for name, column in rows.items()}).shape == (0,)


def test_every_assignment_comes_once_the_last_clause_changing_first():
    assert every_assignment(2).tolist() == [[False, False], [False, True], [True, False], [True, True]]
    assert every_assignment(0).shape == (1, 0)


def test_noisy_or_adds_up_what_weak_clauses_say(policy):
    procedure = Procedure.of(policy, "checklist", "noisy_or")
    answers = dict.fromkeys((c.id for c in policy.clauses), 0.0)
    assert _score(procedure, answers) == 0.0
    assert _score(procedure, {**answers, "V1": 0.5}) == pytest.approx(0.5)
    assert _score(procedure, {**answers, "V1": 0.5, "V2": 0.4}) == pytest.approx(1 - 0.5 * 0.6)
    assert _score(procedure, {**answers, "V1": 1.0, "V2": 0.4}) == pytest.approx(1.0)


@settings(max_examples=60, deadline=None)
@given(answered())
def test_noisy_or_is_never_below_the_strongest_clause(given_):
    procedure, answers = given_
    either, strongest = (
        _score(procedure.model_copy(update={"aggregate": aggregate}), answers)
        for aggregate in ("noisy_or", "strongest")
    )
    assert strongest - 1e-12 <= either <= 1.0


def test_strongest_is_the_strongest_clause_that_nothing_lifts(policy):
    procedure = Procedure.of(policy, "checklist", "strongest")
    assert _score(procedure, {"V1": 0.9, "V2": 0.3, "V3": 0.8, "V4": 0.6, "V5": 0.0}) == pytest.approx(0.36)
    assert _score(procedure, {"V1": 0.9, "V2": 0.3, "V3": 0.8, "V4": 0.0, "V5": 0.9}) == pytest.approx(0.9)
    assert _score(procedure, {"V1": 0.9, "V2": 0.3, "V3": 0.8, "V4": 1.0, "V5": 1.0}) == pytest.approx(0.3)


def _verdict(procedure, threshold=0.5, **answers):
    answers = dict.fromkeys(procedure.questions, 0.0) | answers
    return procedure.verdict(answers, _score(procedure, answers), threshold)


@pytest.fixture
def checklist(policy):
    return Procedure.of(policy, "checklist")


@pytest.mark.parametrize(
    ("answers", "clause", "severity", "rule", "escalate"),
    [
        ({"V1": 0.9}, "V1", 3, "R2", False),
        ({"V3": 0.9}, "V3", 1, "R3", False),
        ({"V1": 0.6, "V3": 0.99}, "V1", 3, "R2", False),  # precedence, not strength
        ({"V1": 0.9, "V2": 0.6}, "V2", 4, "R1", True),
        ({"V1": 0.9, "V3": 0.9, "V5": 0.9}, "V1", 3, "R2", False),  # the exception lifts the other clause
        ({"V2": 0.9, "V4": 1.0, "V5": 1.0}, "V2", 4, "R1", True),  # nothing lifts zero tolerance
    ],
)
def test_a_violation_cites_by_precedence(checklist, answers, clause, severity, rule, escalate):
    verdict = _verdict(checklist, **answers)
    assert verdict.label is Label.VIOLATION
    assert (verdict.clause, verdict.severity, verdict.rule, verdict.escalate) == (clause, severity, rule, escalate)


def test_what_is_allowed_cites_what_permits_it(checklist):
    verdict = _verdict(checklist, V1=0.9, V4=0.95, V5=0.6)
    assert (verdict.label, verdict.clause, verdict.severity, verdict.rule) == (Label.ALLOWED, "V4", 0, "R4")
    assert _verdict(checklist).clause is None
    assert _verdict(checklist).severity == 0


def test_below_a_half_the_nearest_clause_is_cited_with_its_own_rule(checklist):
    verdict = _verdict(checklist, threshold=0.1, V3=0.3, V1=0.2)
    assert (verdict.label, verdict.clause, verdict.severity, verdict.rule) == (Label.VIOLATION, "V3", 1, "R3")


def test_a_high_threshold_overrides_the_rules_and_sends_nothing_to_people(checklist):
    verdict = _verdict(checklist, threshold=0.95, V2=0.9)
    assert (verdict.label, verdict.severity, verdict.rule, verdict.escalate) == (Label.ALLOWED, 0, "R4", False)


def test_the_rule_named_is_one_that_holds(data, clause):
    data["routing"][1:1] = [{"id": "R1b", "when": {"any": ["V1"], "all": ["V5"]}, "then": "escalate"}]
    procedure = Procedure.of(Policy.model_validate(data), "checklist")
    assert _verdict(procedure, V1=0.9).rule == "R2"
    assert not _verdict(procedure, V1=0.9).escalate
    assert _verdict(procedure, V1=0.9, V5=0.9).rule == "R1b"
    assert _verdict(procedure, V1=0.9, V5=0.9).escalate


def test_no_rule_is_named_that_says_the_opposite(data):
    data["routing"][-1]["then"] = "violation"
    procedure = Procedure.of(Policy.model_validate(data), "checklist")
    verdict = procedure.verdict(dict.fromkeys(procedure.questions, 0.0), 0.2, 0.5)
    assert (verdict.label, verdict.rule) == (Label.ALLOWED, None)


@settings(max_examples=150, deadline=None)
@given(answered(), PROBABILITIES, PROBABILITIES)
def test_a_verdict_never_contradicts_itself(given_, score, threshold):
    procedure, answers = given_
    verdict = procedure.verdict(answers, score, threshold)
    severities = {c.id: c.severity for c in procedure.clauses}
    outcomes = {rule.id: rule.then for rule in procedure.routing}
    assert (verdict.label is Label.VIOLATION) == (score >= threshold)
    assert verdict.probability == score
    assert verdict.severity == (severities[verdict.clause] if verdict.clause else 0)
    assert (verdict.severity > 0) == (verdict.label is Label.VIOLATION)
    fired = _decide(procedure.routing, {name: p >= 0.5 for name, p in answers.items()})
    abstains = fired.then is Outcome.ABSTAIN
    if abstains:
        assert (verdict.rule, verdict.escalate) == (fired.id, True)
    elif verdict.rule is not None:
        assert (outcomes[verdict.rule] is Outcome.ALLOWED) == (verdict.label is Label.ALLOWED)
        assert outcomes[verdict.rule] is not Outcome.ABSTAIN
    assert abstains or not (verdict.escalate and verdict.label is Label.ALLOWED)


def test_a_direct_question_cites_nothing_and_knows_no_severity(policy):
    procedure = Procedure.of(policy, "direct")
    assert procedure.questions == (DIRECT_QUESTION,)
    np.testing.assert_array_equal(procedure.score({DIRECT_QUESTION: np.array([0.2, np.nan])}), [0.2, np.nan])
    violation = procedure.verdict({DIRECT_QUESTION: 0.5}, 0.5, 0.5)
    assert (violation.label, violation.severity, violation.clause) == (Label.VIOLATION, None, None)
    allowed = procedure.verdict({DIRECT_QUESTION: 0.4}, 0.4, 0.5)
    assert (allowed.label, allowed.severity) == (Label.ALLOWED, 0)


def test_a_policy_with_too_many_clauses_for_a_checklist_says_so(data, clause):
    more = [f"W{i}" for i in range(MAX_CHECKLIST_CLAUSES)]
    data["clauses"] += [clause(name, 1) for name in more]
    data["precedence"] += more
    policy = Policy.model_validate(data)
    assert Procedure.of(policy, "direct").questions == (DIRECT_QUESTION,)
    with pytest.raises(PolicyError, match=f"has {len(policy.clauses)} clauses, and a checklist takes at most 14"):
        Procedure.of(policy, "checklist")


def test_a_procedure_survives_json(checklist):
    again = Procedure.model_validate_json(checklist.model_dump_json())
    assert again == checklist
    answers = {c.id: 0.3 for c in checklist.clauses}
    assert _score(again, answers) == _score(checklist, answers)
