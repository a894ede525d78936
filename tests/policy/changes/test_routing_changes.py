"""Two routings on their truth table: what differs, due to what, and what a label leaves open."""

from __future__ import annotations

import copy
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt.core.case import Label
from promptopt.policy.changes.routing import compare_routing, routing_effect
from promptopt.policy.functional.implied import implied_verdict
from promptopt.policy.model import Outcome, Policy

IDS = ("V1", "V2", "V3", "V4", "V5")


@pytest.fixture
def compare(policy, data):
    def run(change):
        bent = copy.deepcopy(data)
        change(bent)
        return compare_routing(policy, Policy.model_validate(bent))

    return run


def _combinations(ids):
    for values in product((False, True), repeat=len(ids)):
        yield {name for name, yes in zip(ids, values, strict=True) if yes}


def test_nothing_differs_from_itself(policy):
    effect = routing_effect(compare_routing(policy, policy))
    assert (effect.clauses, effect.combinations, effect.changed) == (IDS, 32, 0)
    assert effect.transitions == ()
    assert effect.recited.combinations == 0


def test_a_lost_exception_is_said_with_the_smallest_combination(compare):
    effect = routing_effect(compare(lambda data: data["routing"][1]["when"].update(none=[])))
    (found,) = effect.transitions
    assert (found.clause, found.before, found.now) == (None, Outcome.ALLOWED, Outcome.VIOLATION)
    (smallest,) = found.smallest
    assert (smallest.clauses, smallest.rule_before, smallest.rule_now) == (("V1", "V4"), "R4", "R2")
    assert found.combinations == 4  # V3 and V5 may apply as well; V2 leads to R1


def test_a_rule_under_another_id_changes_nothing(compare):
    effect = routing_effect(compare(lambda data: data["routing"][1].update(id="R9")))
    assert effect.changed == 0


def test_precedence_changes_what_is_cited_and_no_outcome(compare):
    def change(data):
        data["routing"][1:3] = [{"id": "R2", "when": {"any": ["V1", "V3"], "none": ["V4"]}, "then": "violation"}]

    def reverse(data):
        change(data)
        data["precedence"] = ["V2", "V3", "V1"]

    old, new = compare(change).new, compare(reverse).new
    effect = routing_effect(compare_routing(old, new))
    assert effect.changed == 0
    assert (effect.recited.before, effect.recited.now) == ("V1", "V3")
    assert effect.recited.smallest.clauses == ("V1", "V3")


def test_what_is_due_to_a_new_clause_is_told_from_what_is_due_to_the_rules(compare, clause):
    def change(data):
        data["clauses"].append(clause("V6", 2))
        data["precedence"].append("V6")
        data["routing"].insert(3, {"id": "R3b", "when": {"any": ["V6"]}, "then": "violation"})
        data["routing"][1]["when"]["none"] = []

    found = {t.clause: t for t in routing_effect(compare(change)).transitions}
    assert found["V6"].smallest[0].clauses == ("V6",)
    assert found[None].smallest[0].clauses == ("V1", "V4")
    assert found[None].combinations == 8  # the same four, with V6 and without


def test_escalation_keeps_the_label_and_abstention_does_not(compare):
    escalated = compare(lambda data: data["routing"][1].update(then="escalate"))
    assert escalated.outcome_differs.any()
    assert not escalated.label_differs.any()
    left_open = compare(lambda data: data["routing"][1].update(then="abstain"))
    np.testing.assert_array_equal(left_open.label_differs, left_open.outcome_differs)


def test_too_many_clauses_are_not_enumerated(policy, data, clause):
    more = [f"W{i}" for i in range(16)]
    data["clauses"] += [clause(name, 1) for name in more]
    data["precedence"] += more
    data["routing"].insert(3, {"id": "R3b", "when": {"any": more}, "then": "violation"})
    assert compare_routing(policy, Policy.model_validate(data)) is None


def test_what_a_label_leaves_open(policy):
    compared = compare_routing(policy, policy)
    for label, clause in (
        (Label.VIOLATION, "V1"),
        (Label.VIOLATION, "V3"),
        (Label.ALLOWED, "V4"),
        (Label.ALLOWED, None),
    ):
        open_to = compared.possible(label, clause)
        for row, applying in enumerate(_combinations(IDS)):
            implied = implied_verdict(policy, applying)
            if label is Label.VIOLATION:
                expected = implied.label is label and implied.clause == clause
            else:
                expected = implied.label is label and (
                    clause in applying if clause else applying.isdisjoint({"V4", "V5"})
                )
            assert open_to[row] == expected, (label, clause, applying)


def test_a_violation_that_cites_nothing_leaves_every_violation_open(policy):
    compared = compare_routing(policy, policy)
    expected = [implied_verdict(policy, applying).label is Label.VIOLATION for applying in _combinations(IDS)]
    assert compared.possible(Label.VIOLATION, None).tolist() == expected
    assert compared.possible(Label.VIOLATION, "X1").tolist() == expected


CONDITIONS = st.fixed_dictionaries(
    {key: st.lists(st.sampled_from(IDS), max_size=2, unique=True) for key in ("any", "all", "none")}
).filter(lambda when: any(when.values()))
RULES = st.lists(st.tuples(CONDITIONS, st.sampled_from(Outcome)), max_size=3)


@settings(max_examples=80, deadline=None)
@given(RULES, RULES, st.sampled_from(Outcome))
def test_counts_and_examples_agree_with_routing_each_combination(shipped_policies, first, second, last):
    base = shipped_policies[-1].model_dump(mode="json")

    def made(rules):
        routing = [{"id": f"R{i}", "when": when, "then": then.value} for i, (when, then) in enumerate(rules)]
        return Policy.model_validate({**base, "routing": [*routing, {"id": "RX", "when": {}, "then": last.value}]})

    old, new = made(first), made(second)
    compared = compare_routing(old, new)
    effect = routing_effect(compared)

    def outcome(policy, applying):
        rule = implied_verdict(policy, applying).rule
        return next(r.then for r in policy.routing if r.id == rule)

    differing = [a for a in _combinations(compared.ids) if outcome(old, a) is not outcome(new, a)]
    assert effect.changed == len(differing)
    for transition in effect.transitions:
        for shown in transition.smallest:
            applying = set(shown.clauses)
            assert (outcome(old, applying), outcome(new, applying)) == (transition.before, transition.now)
            assert not any(
                less < applying and (outcome(old, less), outcome(new, less)) == (transition.before, transition.now)
                for less in differing
            )
