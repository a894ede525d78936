"""Every change of a policy is listed once, with what it does to earlier labels."""

from __future__ import annotations

import copy

import pytest

from promptopt.policy.changes.between import changes_between, reused_ids
from promptopt.policy.changes.model import Weight
from promptopt.policy.model import Clause, Policy


@pytest.fixture
def changed(policy, data):
    """Changes the small policy and lists place and weight of every change."""

    def run(change):
        bent = copy.deepcopy(data)
        change(bent)
        return [(c.where, c.weight.value, c.clauses) for c in changes_between(policy, Policy.model_validate(bent))]

    return run


def _set(*keys, value):
    def change(data):
        place = data
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


@pytest.mark.parametrize(
    ("keys", "value", "weight"),
    [
        (("title",), "Title for V1", "wording"),
        (("definition",), "Definitions of the V1", "wording"),
        (("definition",), "Definition of V1 or V2.", "meaning"),
        (("question",), "Does the V1 apply", "wording"),
        (("question",), "Does V1 never apply?", "meaning"),
        (("includes",), ["inside the V1."], "wording"),
        (("includes",), ["inside V1", "beside V1"], "meaning"),
        (("excludes",), ["outside V1 only"], "meaning"),
        (("severity",), 2, "record"),
        (("action",), "restrict", "record"),
    ],
)
def test_a_change_of_a_clause_has_its_weight(changed, keys, value, weight):
    assert changed(_set("clauses", 0, *keys, value=value)) == [("V1", weight, ("V1",))]


def test_the_order_of_a_list_is_no_change(changed, data):
    data["clauses"][0]["includes"] = ["one", "two"]
    old = Policy.model_validate(data)
    data["clauses"][0]["includes"] = ["two", "one"]
    assert changes_between(old, Policy.model_validate(data)) == ()


def test_what_routing_decides_is_left_to_the_truth_table(changed, clause):
    def change(data):
        data["clauses"][2]["exceptions"] = ["V4"]
        data["clauses"].append(clause("V6", 2))
        data["precedence"] = ["V2", "V1", "V6", "V3"]
        data["routing"][2]["when"] = {"any": ["V3", "V6"], "none": ["V4"]}

    found = changed(change)
    assert {where for where, _, _ in found} == {"V3", "V6", "R3", "Precedence"}
    assert {weight for _, weight, _ in found} == {"routing"}


def test_a_term_touches_the_clauses_that_use_it(changed, data):
    def change(data):
        data["terms"][0]["definition"] = "Now something else."

    assert changed(change) == [("word", "wording", ())]

    def used(data):
        data["clauses"][0]["definition"] = "Uses words of the list."

    used(data)
    old = Policy.model_validate(data)
    data["terms"][0]["definition"] = "Now something else."
    (found,) = changes_between(old, Policy.model_validate(data))
    assert (found.where, found.weight, found.clauses) == ("word", Weight.MEANING, ("V1",))


def test_an_example_on_another_side_moves_the_line_and_a_new_one_does_not(changed):
    def move(data):
        data["boundary_examples"][0] |= {"label": "allowed", "clause": "V4"}

    def add(data):
        data["boundary_examples"].append({"text": "x", "label": "allowed", "clause": None, "why": "y"})

    assert changed(move) == [("Examples", "meaning", ("V1", "V4"))]
    assert changed(add) == [("Examples", "wording", ())]


def test_prose_and_notes_explain(changed):
    def change(data):
        data |= {"summary": "Other.", "purpose": "Other.", "question": "Other?"}
        data["locale_notes"] = {"de": "note"}

    assert {(where, weight) for where, weight, _ in changed(change)} == {
        ("Summary", "wording"),
        ("Purpose", "wording"),
        ("Question", "wording"),
        ("de", "wording"),
    }


def test_no_key_of_a_clause_can_change_unseen(policy, data):
    other = {
        "title": "Other",
        "severity": 2,
        "definition": "Other.",
        "question": "Other?",
        "includes": ["other"],
        "excludes": ["other"],
        "exceptions": ["V4", "V5"],
        "action": "label",
    }
    for name in Clause.model_fields.keys() & other.keys():
        bent = copy.deepcopy(data)
        bent["clauses"][0][name] = other[name]
        assert [c.where for c in changes_between(policy, Policy.model_validate(bent))] == ["V1"], name


def test_an_id_with_another_meaning_is_called_out_with_the_way_out(policy, data):
    data["clauses"][0] |= {"title": "Selling fakes", "definition": "Offers counterfeit goods for money."}
    new = Policy.model_validate(data)
    (found,) = reused_ids(policy, new)
    assert (found.clause, found.before, found.now) == ("V1", "Title of V1", "Selling fakes")
    assert found.likeness < 0.2
    assert "give the new clause an id that was never used" in found.remedy
    assert {c.weight for c in changes_between(policy, new)} == {Weight.MEANING}


def test_an_id_that_changes_sides_is_reused_too(policy, data):
    data["clauses"][0] |= {"severity": 0, "action": "allow", "exceptions": []}
    data["precedence"] = ["V2", "V3"]
    assert [found.clause for found in reused_ids(policy, Policy.model_validate(data))] == ["V1"]
    assert reused_ids(policy, policy) == ()


def test_what_has_no_comparison_of_its_own_is_listed_too(changed):
    assert changed(lambda data: data.update(language="de")) == [("Language", "wording", ())]
    assert changed(lambda data: data.update(version="2.0.0")) == []
