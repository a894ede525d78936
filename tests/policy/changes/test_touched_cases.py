"""Which labelled cases have to be read again, and why."""

from __future__ import annotations

import copy

import pytest

from promptopt.core.case import GoldenCase, Label, Split
from promptopt.policy.changes import words
from promptopt.policy.changes.diff import PolicyPair
from promptopt.policy.model import Policy


def _case(name, label, clause, pair=None, split=Split.SEARCH):
    severity = {"V1": 3, "V2": 4, "V3": 1}.get(clause, 1) if label == "violation" else 0
    return GoldenCase(
        id=name, text=f"text {name}", label=Label(label), clause=clause, severity=severity, group=name, pair=pair,
        split=split,
    )  # fmt: skip


CASES = (
    _case("one", "violation", "V1", pair="p"),
    _case("half", "allowed", None, pair="p", split=Split.TEST),
    _case("three", "violation", "V3"),
    _case("lifted", "allowed", "V4", split=Split.CALIBRATION),
    _case("other", "allowed", "V5"),
    _case("two", "violation", "V2"),
    _case("plain", "allowed", None),
)


@pytest.fixture
def effect(policy, data):
    def run(change, cases=CASES):
        bent = copy.deepcopy(data)
        change(bent)
        return PolicyPair(policy, Policy.model_validate(bent)).cases("demo", cases)

    return run


def _reasons(effect):
    return {(t.where, t.reason.value): t.cases for t in effect.touched}


def test_what_only_words_changed_touches_nothing(effect):
    found = effect(lambda data: data["clauses"][0].update(title="Another title", definition="Definitions of V1"))
    assert (found.touched, found.reannotate, found.update, found.allowed_unread) == ((), (), (), 0)


def test_another_meaning_touches_what_cites_the_clause_and_its_pairs(effect):
    found = effect(lambda data: data["clauses"][0].update(definition="Something else altogether."))
    assert _reasons(found) == {("V1", "cites"): ("one",), ("V1", "pair"): ("half",)}
    assert found.reannotate == ("one", "half")
    assert found.reannotate_by_split == {"search": 1, "test": 1}
    assert found.allowed_unread == 3  # lifted, other and plain: a wider V1 may cover them


def test_severity_and_action_are_set_without_reading(effect):
    found = effect(lambda data: data["clauses"][2].update(severity=2, action="restrict"))
    assert _reasons(found) == {("V3", "record"): ("three",)}
    assert (found.reannotate, found.update) == ((), ("three",))


def test_a_lost_exception_touches_what_it_permitted(effect):
    def change(data):
        data["clauses"][0]["exceptions"] = []
        data["routing"][1]["when"]["none"] = []

    # "other" cites V5, which lifts V1 no more than before; V4, which did, may apply to it too.
    assert _reasons(effect(change)) == {("Routing", "outcome"): ("lifted", "other")}


def test_a_new_exception_touches_the_violations_that_it_may_lift(effect):
    def change(data):
        data["clauses"][0]["exceptions"] = ["V4", "V5"]
        data["routing"][1]["when"]["none"] = ["V4", "V5"]

    assert _reasons(effect(change)) == {("Routing", "outcome"): ("one",)}


def test_a_new_violating_clause_touches_every_allowed_case_that_nothing_would_lift(effect, clause):
    def change(data):
        data["clauses"].append(clause("V6", 2, exceptions=["V4"]))
        data["precedence"].append("V6")
        data["routing"].insert(3, {"id": "R3b", "when": {"any": ["V6"], "none": ["V4"]}, "then": "violation"})

    assert _reasons(effect(change)) == {("V6", "outcome"): ("half", "other", "plain")}


def test_a_removed_clause_touches_what_cites_it(effect):
    def change(data):
        del data["clauses"][2]
        data["precedence"].remove("V3")
        del data["routing"][2]

    assert _reasons(effect(change)) == {("V3", "outcome"): ("three",)}


def test_precedence_alone_is_counted_apart(policy, data, effect):
    data["routing"][1:3] = [{"id": "R2", "when": {"any": ["V1", "V3"], "none": ["V4"]}, "then": "violation"}]
    data["clauses"][2]["exceptions"] = ["V4"]
    old = Policy.model_validate(data)
    new = Policy.model_validate({**data, "precedence": ["V2", "V3", "V1"]})
    found = PolicyPair(old, new).cases("demo", CASES)
    assert _reasons(found) == {("Routing", "citation"): ("one",)}
    assert (found.reannotate, found.citation_only) == (("one",), ("one",))
    assert "1 of them only for the clause that they cite" in next(words.cases(found))


def test_cases_are_counted_once_whatever_touches_them(effect):
    def change(data):
        data["clauses"][0].update(definition="Something else altogether.", severity=2)
        data["clauses"][0]["exceptions"] = ["V4", "V5"]
        data["routing"][1]["when"]["none"] = ["V4", "V5"]

    found = effect(change)
    assert found.reannotate == ("one", "half")
    assert found.update == ()


def test_a_case_that_cites_an_unknown_clause_is_counted_and_said(effect):
    found = effect(lambda data: data.update(summary="Other."), (*CASES, _case("odd", "violation", "X1")))
    assert found.unknown == 1
    assert any("1 case citing a clause that neither policy has" in said for said in words.cases(found))


def test_routing_that_is_too_large_to_compare_touches_everything(policy, data, clause):
    more = [f"W{i}" for i in range(16)]
    data["clauses"] += [clause(name, 1) for name in more]
    data["precedence"] += more
    data["routing"].insert(3, {"id": "R3b", "when": {"any": more}, "then": "violation"})
    pair = PolicyPair(policy, Policy.model_validate(data))
    assert pair.cases("demo", CASES).reannotate == tuple(case.id for case in CASES)
    assert "too many clauses" in next(words.routing(pair.diff().routing))


def test_each_change_has_its_own_number_of_cases(policy, data, clause):
    data["clauses"].append(clause("V6", 0))
    data["clauses"][2]["severity"] = 2
    data["clauses"][0]["exceptions"] = ["V4", "V5"]
    data["routing"][1]["when"]["none"] = ["V4", "V5"]
    pair = PolicyPair(policy, Policy.model_validate(data))
    found = pair.diff(pair.cases("demo", CASES))
    numbers = {(change.where, change.weight.value): words.cases_at(found, change) for change in found.changes}
    assert numbers == {("V1", "routing"): 1, ("V3", "record"): 1, ("V6", "routing"): 0, ("R2", "routing"): 1}
    assert (found.added, found.removed) == (("V6",), ())
    assert words.cases_at(pair.diff(), found.changes[0]) is None
