"""The labelling configuration: well-formed, and showing exactly the questions of the procedure."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import pytest

from promptopt.policy import label_studio
from promptopt.policy.decision_tree import compile_tree
from promptopt.policy.label_studio import NO_CLAUSE, cited_choice, render_label_studio
from promptopt.policy.model import Policy

CONCLUSION = {"severity", "cited", "second_opinion", "comment"}


def _parsed(policy):
    return ElementTree.fromstring(render_label_studio(policy))


def _questions(root):
    return [c for c in root.iter("Choices") if c.get("name") not in CONCLUSION]


def _shown(view, answers):
    """The clauses that an annotator is asked about, and the last heading, as Label Studio would show them."""
    asked, chosen, heading = [], {}, ""

    def visit(element):
        nonlocal heading
        for child in element:
            if child.tag == "View":
                if chosen.get(child.get("whenTagName")) == child.get("whenChoiceValue"):
                    visit(child)
            elif child.tag == "Choices" and child.get("name") not in CONCLUSION:
                clause = re.match(r"step\d+_([A-Z]+\d+)", child.get("name"))[1]
                asked.append(clause)
                chosen[child.get("name")] = "Yes" if answers[clause] else "No"
            elif child.tag == "Header" and child.get("value") == "Conclusion":
                return
            elif child.tag == "Header":
                heading = child.get("value")

    visit(view)
    return asked, heading


def test_names_are_unique_and_every_control_speaks_of_the_text(shipped_policies):
    for policy in shipped_policies:
        root = _parsed(policy)
        names = [e.get("name") for e in root.iter() if e.get("name")]
        assert len(names) == len(set(names))
        controls = [e for e in root.iter() if e.tag in ("Choices", "Rating", "TextArea")]
        assert {e.get("toName") for e in controls} == {"text"}
        assert [e.get("value") for e in root.iter("Text")] == ["$text"]
        assert {e.get("name") for e in controls} >= CONCLUSION
        for view in root.iter("View"):
            assert view.get("whenTagName") is None or view.get("whenTagName") in names


def test_every_question_is_one_required_choice(shipped_policies):
    for policy in shipped_policies:
        tree = compile_tree(policy)
        questions = _questions(_parsed(policy))
        for choices in questions:
            assert choices.get("required") == "true"
            assert [c.get("value") for c in choices] == ["Yes", "No", "Unsure"]
        steps = {int(re.match(r"step(\d+)_", c.get("name"))[1]) for c in questions}
        assert steps == {s.number for s in tree.steps}


def test_what_is_shown_is_the_way_through_the_procedure(policy):
    root, tree = _parsed(policy), compile_tree(policy)
    for values in itertools.product((True, False), repeat=5):
        answers = dict(zip(policy.by_id, values, strict=True))
        steps, ending = tree.path(answers)
        asked, heading = _shown(root, answers)
        assert asked == [s.clause for s in steps]
        for consequence in ending.consequences:
            assert f"{consequence.clause}: severity {consequence.severity}, {consequence.action.value}" in heading
        assert heading.startswith("Allowed") == (not ending.consequences)


def test_the_clauses_to_cite_are_the_policy_s_in_order_of_precedence(shipped_policies):
    for policy in shipped_policies:
        (cited,) = [c for c in _parsed(policy).iter("Choices") if c.get("name") == "cited"]
        ordered = [policy.by_id[i] for i in policy.precedence] + list(policy.permitting)
        assert [c.get("value") for c in cited] == [*map(cited_choice, ordered), NO_CLAUSE]


def test_a_tree_with_too_many_ways_asks_every_clause_once(policy, monkeypatch):
    monkeypatch.setattr(label_studio, "MAX_QUESTIONS", 6)
    nested = _questions(_parsed(policy))
    assert len(nested) == 6
    monkeypatch.setattr(label_studio, "MAX_QUESTIONS", 5)
    root = _parsed(policy)
    assert [c.get("name") for c in _questions(root)] == [f"clause_{i}" for i in policy.by_id]
    assert all(c.get("required") == "true" for c in _questions(root))
    assert not any(v.get("visibleWhen") for v in root.iter("View"))


@pytest.mark.parametrize("nasty", ['"/><Text name="text"/>', "<!-- & ]]>", "control\x01\x0b", "$text is worth $5"])
def test_texts_are_escaped(data, nasty):
    data["clauses"][0] |= {"id": "V1", "question": f"A {nasty}?", "title": nasty, "definition": nasty}
    policy = Policy.model_validate(data)
    root = _parsed(policy)
    assert len(list(root.iter("Text"))) == 1
    assert [e.get("value") for e in root.iter() if "$" in (e.get("value") or "")] == ["$text"]
    clean = nasty.replace("\x01", "").replace("\x0b", "").replace("$", "＄")
    assert any(f"A {clean}?" in (h.get("value") or "") for h in root.iter("Header"))


def test_clauses_with_letters_have_names_without_dots(data):
    text = str(data).replace("'V1'", "'V1.a'")
    policy = Policy.model_validate(eval(text))  # noqa: S307
    assert any(c.get("name") == "step2_V1_a" for c in _questions(_parsed(policy)))
