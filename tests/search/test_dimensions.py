"""The whole space: every point is a candidate, equal prompts are equal candidates, and a dimension is one file."""

from __future__ import annotations

import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

import promptopt.search.dimensions as dimensions
from promptopt.config import load_config, resolve_path
from promptopt.core.case import Split
from promptopt.golden.reader import read_golden_set
from promptopt.policy.reader import read_policy
from promptopt.policy.rendering import RenderOptions, render_policy
from promptopt.search.candidates import CandidateMaker
from promptopt.search.dimensions import find_dimension

QUIET = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def whole():
    """The widest space that ships, on the abuse domain."""
    config = load_config(["domain=abuse", "program=all"])
    policy = read_policy(resolve_path(config.domain.policy))
    golden = read_golden_set(resolve_path(config.golden.path))
    return config.space, policy, CandidateMaker(policy, config.space, golden.split(Split.SEARCH)[:24])


def _points(space):
    return st.fixed_dictionaries({name: st.sampled_from(choices) for name, choices in space.dimensions.items()})


@QUIET
@given(st.data())
def test_every_point_is_a_candidate_and_equal_prompts_are_equal_candidates(whole, data):
    space, _, maker = whole
    first, second = (data.draw(_points(space)) for _ in range(2))
    one, two = maker.candidate(first), maker.candidate(second)
    lowered = [maker.program(c).lower() for c in (one, two)]
    procedures = [maker.program(c).procedure for c in (one, two)]
    assert (one == two) == (lowered[0] == lowered[1] and procedures[0] == procedures[1])


@QUIET
@given(st.data())
def test_choices_in_inactive_dimensions_change_nothing(whole, data):
    space, _, maker = whole
    point = data.draw(_points(space))
    other = data.draw(_points(space))
    active = space.active(point)
    mixed = {name: point[name] if name in active else other[name] for name in point}
    assert maker.candidate(mixed) == maker.candidate(point)


def test_clauses_are_listed_as_the_options_say(whole):
    policy = whole[1]
    plain = render_policy(policy, "titles")
    assert plain.index("Violates:") < plain.index("Allowed:")
    first = render_policy(policy, "titles", RenderOptions(exceptions="first"))
    assert first.index("Allowed:") < first.index("Violates:")
    assert "Allowed:" not in render_policy(policy, "titles", RenderOptions(exceptions="none"))
    severe = render_policy(policy, "definitions", RenderOptions(subset="severe", severities=True))
    for clause in policy.violating:
        assert (f"- {clause.id} " in severe) == (clause.severity >= 3)
    ordered = render_policy(policy, "definitions", RenderOptions(order="severity"))
    places = [ordered.index(f"- {clause.id} ") for clause in sorted(policy.violating, key=lambda c: -c.severity)]
    assert places == sorted(places)
    asked = render_policy(policy, "checklist")
    assert all(clause.question in asked for clause in policy.clauses)


def test_boundary_examples_of_the_policy_can_be_shown(whole):
    space, policy, maker = whole
    point = {**space.seed_point(), "demo_count": 4, "demo_choice": "boundary"}
    candidate = maker.candidate(point)
    assert all(demo.startswith("boundary-") for demo in candidate.demos)
    shown = [s.text for s in maker.program(candidate).lower()[0].segments]
    texts = {example.text for example in policy.boundary_examples}
    assert sum(any(text in s for text in texts) for s in shown) == 4


def test_central_demonstrations_are_like_the_others(whole):
    space, _, maker = whole
    points = [{**space.seed_point(), "demo_count": 2, "demo_choice": "central", "demo_draw": d} for d in (0, 1, 2)]
    assert len({maker.candidate(point).demos for point in points}) == 1, "no draw changes who is most like the rest"


SHOUT = """
from dataclasses import replace

class Shout:
    name = "shout"

    def applies(self, point):
        return point["policy"] != "none"

    def change(self, draft, choice):
        return replace(draft, policy=draft.policy.upper()) if choice == "loud" else draft

DIMENSION = Shout()
"""


def test_a_dimension_is_one_file(whole, tmp_path, monkeypatch):
    space, policy, _ = whole
    (tmp_path / "shout.py").write_text(SHOUT, encoding="utf-8")
    monkeypatch.setattr(dimensions, "__path__", [*dimensions.__path__, str(tmp_path)])
    dimensions.known_dimensions.cache_clear()
    try:
        wider = type(space).model_validate({**space.model_dump(), "extra": {"shout": ["none", "loud"]}})
        assert wider.dimensions["shout"] == ("none", "loud")
        maker = CandidateMaker(policy, wider, [])
        calm = {**wider.seed_point(), "policy": "titles"}
        loud = maker.program(maker.candidate({**calm, "shout": "loud"})).lower()[0]
        assert loud != maker.program(maker.candidate(calm)).lower()[0]
        assert "VIOLATES:" in loud.segments[0].text
        silent = {**calm, "policy": "none"}
        assert maker.candidate({**silent, "shout": "loud"}) == maker.candidate(silent), "it does not apply there"
    finally:
        dimensions.known_dimensions.cache_clear()
        sys.modules.pop("promptopt.search.dimensions.shout", None)


def test_an_unknown_dimension_is_refused_with_those_there_are(whole):
    space = whole[0]
    with pytest.raises(ValidationError, match="there is no dimension 'tone'") as caught:
        type(space).model_validate({**space.model_dump(), "extra": {"tone": ["calm"]}})
    assert "reminder" in str(caught.value)
    with pytest.raises(Exception, match="reminder 'loudly' is unknown"):
        find_dimension("reminder").change(None, "loudly")
