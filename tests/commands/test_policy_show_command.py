"""``promptopt policy show``."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from promptopt.policy.decision_tree import compile_tree
from promptopt.policy.mermaid import render_mermaid
from promptopt.policy.reader import read_policy

POLICIES = Path(__file__).resolve().parents[2] / "data" / "policies"
VIOLENCE = POLICIES / "violence.yaml"
NO_OTHERS = ("--rest", "no")


def test_shows_every_step_and_ending(ok):
    tree = compile_tree(read_policy(VIOLENCE))
    lines = [line.split() for line in ok("policy", "show", VIOLENCE).out.splitlines()]
    for step in tree.steps:
        assert any(line[:3] == [str(step.number), step.clause, step.rule] for line in lines)
    for ending in tree.endings:
        assert any(line[:2] == [ending.id, ending.rule] for line in lines)
    assert f"{len(tree.steps)} steps, {len(tree.endings)} endings" in ok("policy", "show", VIOLENCE).out


def test_json_holds_the_tree(ok):
    said = ok("policy", "show", VIOLENCE, "--json").json
    tree = compile_tree(read_policy(VIOLENCE))
    assert said["start"] == tree.start
    assert [s["clause"] for s in said["steps"]] == [s.clause for s in tree.steps]
    assert said["endings"][0]["consequences"][0]["clause"] == "V5"


def test_follows_answers_to_the_rule_that_fires(ok):
    called = ok("policy", "show", VIOLENCE, "--answers", "V1=yes,V3=no", *NO_OTHERS)
    assert "Violation by rule R2" in called.out
    assert "cites V1 Threats of violence" in called.out
    assert "goes to people" in called.out
    trace = ok("policy", "show", VIOLENCE, "--answers", "V1=yes, V11=Yes", *NO_OTHERS, "--json").json["trace"]
    assert (trace["outcome"], trace["rule"], trace["cited"]) == ("allowed", "R5", ["V11"])


def test_an_answer_that_is_missing_is_not_taken_for_no(ok):
    called = ok("policy", "show", VIOLENCE, "--answers", "V1=yes,V3=no")
    assert "no outcome: V5 is not answered" in called.out
    trace = ok("policy", "show", VIOLENCE, "--answers", "V5=no,V4=no", "--json").json["trace"]
    assert (trace["open_question"], trace["outcome"]) == ("V1", None)


def test_draws_svg_and_mermaid(ok, tmp_path):
    drawing = tmp_path / "new" / "tree.svg"
    assert str(drawing) in ok("policy", "show", VIOLENCE, "--svg", drawing, columns=200).out
    assert ElementTree.parse(drawing).getroot().tag.endswith("svg")
    assert ok("policy", "show", VIOLENCE, "--mermaid").out == render_mermaid(compile_tree(read_policy(VIOLENCE)))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--answers", "V1=maybe"), "'V1=maybe' is no answer; write them as V1=yes,V3=no"),
        (("--answers", "V1"), "'V1' is no answer"),
        (("--answers", "V1=yes,V1=no"), "V1 is answered twice"),
        (("--answers", "X1=yes"), "no clause X1; choose from V1"),
        (("--answers", "V1=yes", "--rest", "perhaps"), "'perhaps' is no answer"),
        (("--rest", "no"), "no answers that it could complete"),
        (("--mermaid", "--json"), "--mermaid"),
        (("--mermaid", "--answers", "V1=yes"), "--mermaid"),
    ],
)
def test_refuses_what_is_no_answer(refused, options, sentence):
    assert sentence in refused("policy", "show", VIOLENCE, *options)


def test_says_what_is_in_question_where_people_decide(ok, tmp_path):
    changed = tmp_path / "violence.yaml"
    rule = "  - {id: R0, when: {all: [V1, V7], none: [V8, V9, V10, V11]}, then: abstain}\n  - {id: R2,"
    changed.write_text(VIOLENCE.read_text(encoding="utf-8").replace("  - {id: R2,", rule), encoding="utf-8")
    said = ok("policy", "show", changed, "--answers", "V1=yes,V7=yes", "--rest", "no").out
    assert "People decide by rule R0" in said
    assert "in question: V1 Threats of violence\nin question: V7" in said
    assert said.endswith("goes to people\n")
    assert "People decide: V1 or V7?" in ok("policy", "show", changed).out
