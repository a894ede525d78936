"""The decision procedure that people follow, and its agreement with the routing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt.errors import PolicyError
from promptopt.policy import decision_tree
from promptopt.policy.decision_tree import compile_tree
from promptopt.policy.model import Action, Outcome, Policy
from promptopt.policy.routing import every_assignment, first_match
from promptopt.policy.trace import trace

IDS = ("V1", "V2", "V3", "V4", "V5")
SOME = st.lists(st.sampled_from(IDS), max_size=3, unique=True)


def _small(rules, severities, precedence):
    clauses = [
        {
            "id": i,
            "title": i,
            "severity": severity,
            "definition": i,
            "question": f"{i}?",
            "includes": ["x"],
            "excludes": ["y"],
            "action": "remove" if severity else "allow",
        }
        for i, severity in zip(IDS, severities, strict=True)
    ]
    routing = [
        {"id": f"R{n}", "when": {"any": any_of, "all": all_of, "none": none_of}, "then": then}
        for n, (any_of, all_of, none_of, then) in enumerate(rules)
        if any_of or all_of or none_of
    ]
    return Policy.model_validate(
        {
            "schema_version": 1,
            "domain": "small",
            "title": "Small",
            "version": "1",
            "language": "en",
            "purpose": "p",
            "question": "q?",
            "summary": "s",
            "clauses": clauses,
            "precedence": [i for i in precedence if severities[IDS.index(i)]],
            "routing": [*routing, {"id": "last", "when": {}, "then": "allowed"}],
        }
    )


SMALL = st.builds(
    _small,
    st.lists(st.tuples(SOME, SOME, SOME, st.sampled_from(list(Outcome))), max_size=4),
    st.tuples(st.integers(1, 4), *[st.integers(0, 4)] * 4),
    st.permutations(IDS),
)


def _assert_agrees(policy):
    tree = compile_tree(policy)
    ids = [c.id for c in policy.clauses]
    table = every_assignment(len(ids))
    deciding = first_match(policy.routing, ids, table)
    for row, rule in zip(table, deciding, strict=True):
        answers = dict(zip(ids, row.tolist(), strict=True))
        steps, ending = tree.path(answers)
        assert ending is not None
        expected = policy.routing[int(rule)]
        assert (ending.rule, ending.outcome) == (expected.id, expected.then)
        asked = [step.clause for step in steps]
        assert len(set(asked)) == len(asked)
        if ending.consequences:
            cited = {c.clause for c in ending.consequences}
            assert cited <= {*expected.when.any, *expected.when.all}
            if all(policy.by_id[c].is_violating for c in expected.when.any):
                assert any(answers[c] for c in cited)


def test_every_set_of_answers_ends_with_the_rule_of_the_routing_in_shipped_policies(shipped_policies):
    for policy in shipped_policies:
        _assert_agrees(policy)


@settings(max_examples=150, deadline=None)
@given(SMALL)
def test_every_set_of_answers_ends_with_the_rule_of_the_routing_in_any_policy(policy):
    _assert_agrees(policy)


@settings(max_examples=100, deadline=None)
@given(SMALL)
def test_answers_lead_onwards_and_every_step_and_ending_can_be_reached(policy):
    tree = compile_tree(policy)
    for step in tree.steps:
        assert step.yes != step.no
        for target in (step.yes, step.no):
            assert target in tree.ending or int(target) > step.number
    reached = {tree.start, *tree.sources}
    assert reached == {*tree.step, *tree.ending}


@settings(max_examples=100, deadline=None)
@given(SMALL, st.lists(st.booleans(), min_size=5, max_size=5))
def test_a_trace_says_what_was_asked_and_cites_what_made_the_rule_hold(policy, values):
    answers = dict(zip(IDS, values, strict=True))
    found = trace(policy, answers)
    index = int(first_match(policy.routing, IDS, np.array([values]))[0])
    rule = policy.routing[index]
    assert (found.rule, found.outcome, found.open_question) == (rule.id, rule.then, None)
    assert all(a.answer is answers[a.clause] for a in found.asked)
    assert all(answers[c] for c in found.cited)
    if rule.then is Outcome.ALLOWED:
        assert (found.severity, found.action, found.escalate) == (0, Action.ALLOW, False)
    else:
        ranks = [policy.precedence.index(c) for c in found.cited]
        assert ranks == sorted(ranks)
        decided = found.cited and rule.then is not Outcome.ABSTAIN
        assert found.severity == (policy.by_id[found.cited[0]].severity if decided else None)
        assert found.escalate or rule.then not in (Outcome.ESCALATE, Outcome.ABSTAIN)


def test_the_steps_of_a_policy(policy):
    tree = compile_tree(policy)
    told = [(s.number, s.clause, s.part, s.rule, s.yes, s.no) for s in tree.steps]
    assert told == [
        (1, "V2", "condition", "R1", "A", "2"),
        (2, "V1", "condition", "R2", "3", "4"),
        (3, "V4", "exception", "R2", "B", "C"),
        (4, "V3", "condition", "R3", "5", "B"),
        (5, "V4", "exception", "R3", "B", "6"),
        (6, "V5", "exception", "R3", "B", "D"),
    ]
    assert [(e.id, e.rule, e.outcome.value, [c.clause for c in e.consequences]) for e in tree.endings] == [
        ("A", "R1", "escalate", ["V2"]),
        ("B", "R4", "allowed", []),
        ("C", "R2", "violation", ["V1"]),
        ("D", "R3", "violation", ["V3"]),
    ]
    assert [e.look.value for e in tree.endings] == ["escalate", "allowed", "violation", "violation"]
    assert tree.sources["B"] == ((3, True), (4, False), (5, True), (6, True))
    first = tree.steps[0]
    assert (first.question, first.definition) == ("Does V2 apply?", "Definition of V2.")
    assert (first.includes, first.excludes) == (("inside V2",), ("outside V2",))


def test_of_any_clauses_the_first_by_precedence_is_asked_first(data):
    data["routing"] = [
        {"id": "R1", "when": {"any": ["V3", "V1", "V2"], "none": ["V5", "V4"]}, "then": "violation"},
        {"id": "R2", "when": {}, "then": "allowed"},
    ]
    tree = compile_tree(Policy.model_validate(data))
    assert [s.clause for s in tree.steps] == ["V2", "V1", "V3", "V4", "V5"]
    (ending,) = [e for e in tree.endings if e.consequences]
    assert [c.clause for c in ending.consequences] == ["V2", "V1", "V3"]


def test_a_policy_that_asks_nothing_has_one_ending(data):
    data["routing"] = data["routing"][-1:]
    tree = compile_tree(Policy.model_validate(data))
    assert tree.steps == ()
    assert tree.start == "A"
    assert tree.path({})[1] is tree.endings[0]


def test_a_question_without_answer_leaves_the_outcome_open(policy):
    found = trace(policy, {"V2": False, "V3": True})
    assert [a.clause for a in found.asked] == ["V2", "V1"]
    assert found.asked[-1].answer is None
    assert (found.open_question, found.outcome, found.rule, found.severity) == ("V1", None, None, None)


def test_a_permitted_context_is_cited_where_it_lifts(policy):
    found = trace(policy, {"V2": False, "V1": True, "V4": True})
    assert (found.outcome, found.cited, found.rule) == (Outcome.ALLOWED, ("V4",), "R4")
    assert trace(policy, {"V2": True}).escalate


def test_answers_about_unknown_clauses_are_refused(policy):
    with pytest.raises(PolicyError, match=r"no clause V9; choose from V1, V2"):
        trace(policy, {"V9": True})


def test_a_procedure_that_nobody_could_follow_is_refused(policy, monkeypatch):
    monkeypatch.setattr(decision_tree, "MAX_STEPS", 5)
    with pytest.raises(PolicyError, match="more than 5 steps"):
        compile_tree(policy)
