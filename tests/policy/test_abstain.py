"""A rule that abstains leaves a text to people, wherever the routing is read."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from promptopt.core.case import Label
from promptopt.errors import PolicyError
from promptopt.policy.decision_tree import compile_tree
from promptopt.policy.drawing import render_svg
from promptopt.policy.functional.generate import functional_cases
from promptopt.policy.functional.implied import implied_verdict
from promptopt.policy.inversion import invert
from promptopt.policy.label_studio import render_label_studio
from promptopt.policy.mermaid import render_mermaid
from promptopt.policy.model import Outcome, Policy
from promptopt.policy.procedure import Procedure
from promptopt.policy.reader import read_policy
from promptopt.policy.sop import render_html, render_markdown
from promptopt.policy.trace import trace
from promptopt.policy.wording import consequences, headline

LEFT_OPEN = {"id": "R0", "when": {"all": ["V1", "V5"]}, "then": "abstain"}


@pytest.fixture
def open_data(data):
    """V1 in the context V5 is left to people; everything else is as in the small policy."""
    return {**data, "routing": [data["routing"][0], LEFT_OPEN, *data["routing"][1:]]}


@pytest.fixture
def open_policy(open_data):
    return Policy.model_validate(open_data)


def _verdict(policy, threshold=0.5, aggregate="routing", **answers):
    procedure = Procedure.of(policy, "checklist", aggregate)
    answers = dict.fromkeys(procedure.questions, 0.0) | answers
    score = float(procedure.score({name: np.array([p]) for name, p in answers.items()})[0])
    return procedure.verdict(answers, score, threshold)


def test_what_is_left_open_counts_half(open_policy):
    assert _verdict(open_policy, V1=1.0, V5=1.0).probability == 0.5
    assert _verdict(open_policy, V1=1.0).probability == 1.0
    # V1 applies for certain: a violation without V5, open with it.
    assert _verdict(open_policy, V1=1.0, V5=0.4).probability == pytest.approx(0.6 + 0.4 / 2)


@pytest.mark.parametrize(("threshold", "label"), [(0.4, Label.VIOLATION), (0.6, Label.ALLOWED)])
def test_the_verdict_names_the_rule_and_goes_to_people_with_the_label_as_a_guess(open_policy, threshold, label):
    verdict = _verdict(open_policy, threshold, V1=1.0, V5=1.0)
    assert (verdict.label, verdict.rule, verdict.escalate) == (label, "R0", True)
    expected = ("V1", 3) if label is Label.VIOLATION else ("V5", 0)
    assert (verdict.clause, verdict.severity) == expected


def test_the_other_aggregates_abstain_too(open_policy):
    for aggregate in ("strongest", "noisy_or"):
        assert _verdict(open_policy, aggregate=aggregate, V1=0.9, V5=0.9).rule == "R0"
        assert _verdict(open_policy, aggregate=aggregate, V1=0.9, V5=0.9).escalate


def test_other_answers_are_decided_as_before(open_policy, policy):
    for answers in ({"V1": 0.9}, {"V2": 0.9, "V1": 0.9, "V5": 0.9}, {"V5": 0.9}, {"V1": 0.9, "V4": 0.9}, {}):
        found, before = _verdict(open_policy, **answers), _verdict(policy, **answers)
        assert (found.label, found.rule, found.escalate) == (before.label, before.rule, before.escalate)


def test_the_tree_ends_where_people_decide(open_policy):
    tree = compile_tree(open_policy)
    (ending,) = [e for e in tree.endings if e.outcome is Outcome.ABSTAIN]
    assert (ending.rule, ending.look) == ("R0", Outcome.ABSTAIN)
    assert headline(ending) == "People decide: V1?"
    assert consequences(ending) == ["if V1: severity 3, remove"]


def test_a_trace_says_what_is_in_question_and_concludes_nothing(open_policy):
    found = trace(open_policy, {"V1": True, "V2": False, "V5": True})
    assert (found.rule, found.outcome, found.cited) == ("R0", Outcome.ABSTAIN, ("V1",))
    assert (found.severity, found.action, found.escalate, found.open_question) == (None, None, True, None)


def test_drawings_show_it_in_a_colour_of_its_own(open_policy, policy):
    tree = compile_tree(open_policy)
    assert "People decide" in render_svg(tree, "t")
    assert "#f0ecf7" in render_svg(tree, "t")
    assert ":::abstain" in render_mermaid(tree)
    assert "classDef abstain" in render_mermaid(tree)
    assert "abstain" not in render_mermaid(compile_tree(policy))


def test_annotators_are_told_to_record_no_outcome(open_policy, policy):
    for said in (render_markdown(open_policy), render_html(open_policy)):
        assert "the policy leaves the decision to people" in said
        assert "People decide: V1?" in said
    assert "leaves the decision" not in render_markdown(policy)


def test_label_studio_can_record_it(open_policy, policy):
    def choices(found):
        view = ElementTree.fromstring(render_label_studio(found))
        return [c.get("value") for c in view.find(".//Choices[@name='second_opinion']")]

    assert "Yes: the policy leaves it to people" in choices(open_policy)
    assert not any("leaves it" in choice for choice in choices(policy))


def test_no_verdict_is_implied_and_no_case_made_of_it(open_data):
    open_policy = Policy.model_validate(open_data)
    implied = implied_verdict(open_policy, {"V1", "V5"})
    assert (implied.label, implied.clause, implied.rule) == (None, "V1", "R0")
    open_data["templates"] = [
        {"clause": "V1", "text": "A {thing}.", "slots": {"thing": ["a"]}, "controls": {"thing": ["b"]}},
        {"clause": "V3", "text": "The {thing}.", "slots": {"thing": ["c"]}, "controls": {"thing": ["d"]}},
    ]
    open_data["routing"][1] = {**LEFT_OPEN, "when": {"all": ["V1"]}}
    functions = {case.function for case in functional_cases(Policy.model_validate(open_data))}
    assert {"clause:V3/plain", "minimal_edit:V3"} <= functions
    assert functions.isdisjoint({"clause:V1/plain", "minimal_edit:V1"})


def test_the_inversion_drops_a_rule_that_rested_on_the_clause(open_policy):
    assert all(rule.then is not Outcome.ABSTAIN for rule in invert(open_policy, "V1").routing)


def test_zero_tolerance_cannot_be_left_to_people(write_policy):
    def change(data):
        data["routing"].insert(0, {"id": "R0", "when": {"all": ["V2", "V5"]}, "then": "abstain"})

    with pytest.raises(PolicyError, match="V2 is zero_tolerance, but routing rule R0 can leave it to people"):
        read_policy(write_policy(change))


def test_a_clause_may_be_left_to_people_even_when_it_stands_alone(write_policy):
    def change(data):
        data["routing"][2]["then"] = "abstain"

    assert read_policy(write_policy(change)).routing[2].then is Outcome.ABSTAIN


def test_a_procedure_that_abstains_survives_json(open_policy):
    procedure = Procedure.of(open_policy, "checklist")
    assert Procedure.model_validate_json(procedure.model_dump_json()) == procedure
