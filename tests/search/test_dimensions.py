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
from promptopt.errors import ConfigError
from promptopt.golden.reader import read_golden_set
from promptopt.policy.reader import read_policy
from promptopt.policy.rendering import RenderOptions, render_policy
from promptopt.programs.prompt_format import PromptFormat
from promptopt.search.candidates import CandidateMaker
from promptopt.search.dimensions import find_dimension
from promptopt.search.dimensions.base import PromptDraft

QUIET = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def whole():
    """The widest space that ships, on the abuse domain."""
    extra = ["program.extra.role=[none,lawyer]", "program.extra.label_language=[none,policy,de]"]
    config = load_config(["domain=abuse", "program=all", *extra])
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


@pytest.fixture
def add_module(tmp_path, monkeypatch):
    """Puts a module beside those of the package for the time of a test."""
    added = []

    def add(name, text):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
        dimensions.known_dimensions.cache_clear()
        added.append(name)

    monkeypatch.setattr(dimensions, "__path__", [*dimensions.__path__, str(tmp_path)])
    yield add
    dimensions.known_dimensions.cache_clear()
    for name in added:
        sys.modules.pop(f"promptopt.search.dimensions.{name}", None)


def _with_extra(space, **extra):
    return type(space).model_validate({**space.model_dump(), "extra": extra})


def test_a_dimension_is_one_file(whole, add_module):
    space, policy, _ = whole
    add_module("shout", SHOUT)
    wider = _with_extra(space, shout=["none", "loud", "louder"])
    assert wider.dimensions["shout"] == ("none", "loud", "louder")
    maker = CandidateMaker(policy, wider, [])
    calm = {**wider.seed_point(), "policy": "titles"}
    loud = maker.program(maker.candidate({**calm, "shout": "loud"})).lower()[0]
    assert loud != maker.program(maker.candidate(calm)).lower()[0]
    assert "VIOLATES:" in loud.segments[0].text
    assert maker.candidate({**calm, "shout": "louder"}) == maker.candidate(calm), "it makes nothing of this choice"
    silent = {**calm, "policy": "none"}
    assert maker.candidate({**silent, "shout": "loud"}) == maker.candidate(silent), "it does not apply there"
    assert "shout" in wider.active(calm)
    assert "shout" not in wider.active(silent)


def test_a_dimension_sees_a_written_policy(whole, add_module):
    space, policy, _ = whole
    add_module("shout", SHOUT)
    maker = CandidateMaker(policy, _with_extra(space, shout=["none", "loud"]), [])
    point = {**space.seed_point(), "shout": "loud"}
    texts = {"policy": "No hate."}
    assert maker.candidate({**point, "policy": "none"}, texts) == maker.candidate({**point, "policy": "full"}, texts)
    assert "NO HATE." in maker.program(maker.candidate(point, texts)).lower()[0].segments[0].text


@pytest.mark.parametrize(
    ("module", "said"),
    [("VALUE = 1", "the module odd holds no DIMENSION"), (SHOUT.replace('"shout"', '"role"'), "'role' like another")],
)
def test_a_module_that_keeps_no_contract_is_named(add_module, module, said):
    add_module("odd", module)
    with pytest.raises(ConfigError, match=said):
        find_dimension("role")


def test_a_dimension_cannot_take_the_name_of_a_built_in_one(whole, add_module):
    add_module("quoting", SHOUT.replace('"shout"', '"quoting"'))
    with pytest.raises(ValidationError, match="'quoting' of `extra` has the name of a built-in one"):
        _with_extra(whole[0], quoting=["none", "loud"])


def test_answer_words_take_the_language_of_the_policy(whole):
    space, policy, _ = whole
    german = policy.model_copy(update={"language": "de-AT"})
    space = _with_extra(space, label_language=["none", "policy", "zh"])

    def labels(policy, **choices):
        maker = CandidateMaker(policy, space, [])
        return maker.program(maker.candidate({**space.seed_point(), **choices})).lower()[0].labels

    assert labels(german) == ("yes", "no")
    assert labels(german, label_language="policy") == ("ja", "nein")
    assert labels(german, label_language="policy", labels="true_false") == ("wahr", "falsch")
    assert labels(policy, label_language="policy") == ("yes", "no"), "the policy is English"
    assert labels(policy, label_language="zh") == ("是", "否")


@pytest.mark.parametrize("language", ["de", "es", "fr", "zh"])
def test_translations_are_pairs_of_their_own(language):
    pairs = [(w.violation, w.allowed) for w in load_config(["program=all"]).program.label_words.values()]
    drafts = [PromptDraft("i", "p", language, PromptFormat(yes=yes, no=no)) for yes, no in [*pairs, ("Yes", "No")]]
    change = find_dimension("label_language").change
    translated = [change(draft, "policy").layout for draft in drafts]
    assert len({(layout.yes, layout.no) for layout in translated[: len(pairs)]}) == len(pairs)
    for draft, layout in zip(drafts, translated, strict=True):
        assert (layout.yes, layout.no) != (draft.layout.yes, draft.layout.no)
        assert PromptFormat.model_validate(layout.model_dump()) == layout
    odd = PromptDraft("i", "p", language, PromptFormat(yes="aye", no="nay"))
    assert change(odd, "policy") == odd


def test_a_role_opens_the_instruction(whole):
    space, _, maker = whole
    candidate = maker.candidate({**space.seed_point(), "role": "lawyer"})
    opening = maker.program(candidate).lower()[0].messages()[0]["content"]
    plain = maker.program(maker.candidate(space.seed_point())).lower()[0].messages()[0]["content"]
    assert opening == f"You read a policy as a lawyer reads a contract. {plain}"


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"tone": ["calm"]}, "there is no dimension 'tone'; choose from label_language, reminder, role"),
        ({"reminder": ["none", "loudly"]}, "reminder 'loudly' is unknown; use none, exceptions"),
        ({"role": ["judge"]}, "role 'judge' is unknown; use none, moderator"),
        ({"label_language": ["xx"]}, "label_language 'xx' is unknown; use none, policy, de"),
        ({"reminder": []}, "dimension 'reminder' needs distinct choices, found []"),
    ],
)
def test_a_mistake_in_extra_is_said_when_the_space_is_read(whole, extra, said):
    with pytest.raises(ValidationError) as caught:
        _with_extra(whole[0], **extra)
    assert said in str(caught.value)
