"""Decision trees as SVG and as Mermaid."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from promptopt.policy.decision_tree import compile_tree
from promptopt.policy.drawing import render_svg
from promptopt.policy.mermaid import render_mermaid
from promptopt.policy.model import Policy

NS = {"svg": "http://www.w3.org/2000/svg"}
EVIL = 'A <script>alert("x")</script> & ]]>\x01 title'


@pytest.fixture
def evil_tree(data):
    for clause in data["clauses"]:
        clause["title"] = clause["question"] = EVIL
    return compile_tree(Policy.model_validate(data))


def _texts(root):
    return ["".join(t.itertext()) for t in root.iterfind(".//svg:text", NS)]


def test_the_svg_names_every_step_and_ending_of_each_shipped_policy(shipped_policies):
    for policy in shipped_policies:
        tree = compile_tree(policy)
        texts = _texts(ElementTree.fromstring(render_svg(tree, policy.title)))
        for step in tree.steps:
            assert f"{step.number}. {step.clause}" in texts
        drawn = {text.split(". ")[0] for text in texts}
        assert {e.id for e in tree.endings} <= drawn
        answers = [t for t in texts if t in ("yes", "no")]
        assert len(answers) == 2 * len(tree.steps)


def test_the_svg_is_named_for_people_who_hear_it(policy):
    root = ElementTree.fromstring(render_svg(compile_tree(policy), "Tree of <demo>"))
    assert root.get("role") == "img"
    ids = {e.get("id"): e.text for e in root.iter() if e.get("id")}
    title, description = (ids[name] for name in root.get("aria-labelledby").split())
    assert title == "Tree of <demo>"
    assert description.startswith("6 yes or no questions with 4 endings")


def test_boxes_do_not_overlap_and_nothing_leaves_the_drawing(shipped_policies):
    for policy in shipped_policies:
        root = ElementTree.fromstring(render_svg(compile_tree(policy), "t"))
        _, _, width, height = map(float, root.get("viewBox").split())
        boxes = [
            tuple(float(r.get(k)) for k in ("x", "y", "width", "height")) for r in root.iterfind(".//svg:rect[@rx]", NS)
        ]
        for i, (x, y, w, h) in enumerate(boxes):
            assert x >= 0
            assert y >= 0
            assert x + w <= width
            assert y + h <= height
            for a, b, c, d in boxes[i + 1 :]:
                assert x + w <= a or a + c <= x or y + h <= b or b + d <= y
        for path in root.iterfind("svg:path", NS):
            xs = [float(n) for n in re.findall(r"[MH](-?\d+)", path.get("d"))]
            assert all(0 <= x <= width for x in xs)


def test_ways_to_different_steps_never_run_on_the_same_line(shipped_policies):
    for policy in shipped_policies:
        root = ElementTree.fromstring(render_svg(compile_tree(policy), "t"))
        runs = [re.fullmatch(r"M(\d+) (\d+)V(\d+)H\d+", p.get("d")) for p in root.iterfind("svg:path", NS)]
        lanes = [tuple(map(int, run.groups())) for run in runs if run]
        for i, (x, top, end) in enumerate(lanes):
            assert top < end
            for a, b, c in lanes[i + 1 :]:
                assert x != a or end < b or c < top


def test_texts_are_escaped(evil_tree):
    svg = render_svg(evil_tree, EVIL)
    assert "<script" not in svg
    assert EVIL.replace("\x01", "") == ElementTree.fromstring(svg).findtext("svg:title", namespaces=NS)
    mermaid = render_mermaid(evil_tree)
    assert "<script" not in mermaid
    assert not re.search(r'\{"[^"]*"[^}]', mermaid)


def test_mermaid_has_both_answers_of_every_step(policy):
    lines = render_mermaid(compile_tree(policy)).splitlines()
    assert lines[0] == "flowchart TD"
    assert '  q1{"1. V2: Does V2 apply?"}' in lines
    assert '  q3{"3. V4: Does V4 apply?"}:::exception' in lines
    assert "  q3 -- yes --> endB" in lines
    assert "  q3 -- no --> endC" in lines
    assert sum(" -- " in line for line in lines) == 12
    assert '  endA(["A. Violation, escalate: cite V2<br/>V2: severity 4, escalate"]):::escalate' in lines


def test_a_procedure_without_questions_is_drawn_as_its_ending(data):
    data["routing"] = data["routing"][-1:]
    tree = compile_tree(Policy.model_validate(data))
    assert _texts(ElementTree.fromstring(render_svg(tree, "t"))) == ["A. Allowed"]
