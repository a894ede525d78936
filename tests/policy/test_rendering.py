"""Each rendering says as much of the policy as its name promises."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt.policy.model import Policy
from promptopt.policy.rendering import (
    RENDERINGS,
    SEVERE,
    ClauseOrder,
    ClauseSubset,
    ExceptionPlace,
    RenderOptions,
    lists_clauses,
    render_policy,
)


def test_none_is_empty(policy):
    assert render_policy(policy, "none") == ""


def test_the_summary_names_the_policy(policy):
    assert render_policy(policy, "summary") == "Policy: Demo\nThe whole policy in short."


def test_titles_stand_under_what_they_mean(policy):
    expected = (
        "Policy: Demo\nViolates:\n- Title of V1\n- Title of V2\n- Title of V3\nAllowed:\n- Title of V4\n- Title of V5"
    )
    assert render_policy(policy, "titles") == expected


def test_definitions_add_ids_and_definitions(policy):
    text = render_policy(policy, "definitions")
    for clause in policy.clauses:
        assert f"- {clause.id} {clause.title}: {clause.definition}" in text
        assert clause.includes[0] not in text


def test_criteria_add_includes_and_excludes(policy):
    text = render_policy(policy, "criteria")
    for clause in policy.clauses:
        assert f"Includes: {clause.includes[0]}. Excludes: {clause.excludes[0]}." in text
    assert policy.summary not in text


def test_full_says_everything(policy):
    text = render_policy(policy, "full")
    assert text.startswith(policy.summary)
    assert "- word: What is defined." in text
    assert render_policy(policy, "criteria") in text
    assert '- "on the wrong side" -> violation (V1): because' in text
    assert text.endswith('- "on the right side" -> allowed: therefore')


def test_parts_that_a_policy_lacks_leave_no_heading(policy):
    bare = policy.model_copy(update={"terms": (), "boundary_examples": (), "clauses": policy.violating})
    text = render_policy(bare, "full")
    assert "Terms" not in text
    assert "Examples" not in text
    assert "Allowed" not in text


@pytest.mark.parametrize("rendering", RENDERINGS)
def test_renderings_are_deterministic_and_clean(shipped_policies, rendering):
    for policy in shipped_policies:
        text = render_policy(policy, rendering)
        assert text == render_policy(Policy.model_validate_json(policy.model_dump_json()), rendering)
        assert text == text.strip()
        assert "{" not in text


def test_renderings_of_a_shipped_policy_are_distinct_and_grow(shipped_policies):
    for policy in shipped_policies:
        lengths = [len(render_policy(policy, r)) for r in ("none", "titles", "definitions", "criteria", "full")]
        assert lengths == sorted(set(lengths))


LISTING = [rendering for rendering in RENDERINGS if lists_clauses(rendering)]
OPTIONS = st.builds(
    RenderOptions,
    subset=st.sampled_from(get_args(ClauseSubset)),
    order=st.sampled_from(get_args(ClauseOrder)),
    exceptions=st.sampled_from(get_args(ExceptionPlace)),
    severities=st.booleans(),
)


def test_a_checklist_lists_questions(policy):
    text = render_policy(policy, "checklist")
    assert text.startswith("Policy: Demo\nViolates:\n- V1 Does V1 apply?\n")
    assert text.endswith("Allowed:\n- V4 Does V4 apply?\n- V5 Does V5 apply?")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"order": "file"}, ["V1", "V2", "V3", "Allowed:", "V4", "V5"]),
        ({"order": "severity"}, ["V2", "V1", "V3", "Allowed:", "V4", "V5"]),
        ({"order": "precedence", "exceptions": "first"}, ["Allowed:", "V4", "V5", "Violates:", "V2", "V1", "V3"]),
        ({"subset": "severe", "exceptions": "none"}, ["V1", "V2"]),
    ],
)
def test_options_say_which_clauses_stand_where(policy, options, expected):
    text = render_policy(policy, "titles", RenderOptions(**options))
    assert [text.index(word) for word in expected] == sorted(text.index(word) for word in expected)
    named = {clause.id for clause in policy.clauses if clause.title in text}
    assert named == set(expected) - {"Allowed:", "Violates:"}


def test_all_clauses_are_listed_where_none_is_severe(policy):
    clauses = tuple(c.model_copy(update={"severity": min(c.severity, 2)}) for c in policy.clauses)
    mild = policy.model_copy(update={"clauses": clauses})
    text = render_policy(mild, "titles", RenderOptions(subset="severe"))
    assert all(clause.title in text for clause in mild.clauses)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_options_only_choose_and_arrange_the_same_lines(shipped_policies, data):
    policy = data.draw(st.sampled_from(shipped_policies))
    rendering, options = data.draw(st.sampled_from(LISTING)), data.draw(OPTIONS)
    plain = render_policy(policy, rendering).split("\n")
    lines = render_policy(policy, rendering, options).split("\n")
    bare = [re.sub(r" \(severity [1-4]\)$", "", line) for line in lines]
    assert set(bare) <= set(plain)
    graded = sum(one != other for one, other in zip(lines, bare, strict=True))
    severe = [c for c in policy.violating if c.severity >= SEVERE] or policy.violating
    listed = policy.violating if options.subset == "all" else severe
    assert graded == (len(listed) if options.severities else 0)
    assert ("Allowed:" in lines) == (options.exceptions != "none")


@given(OPTIONS)
def test_renderings_without_clauses_have_nothing_to_arrange(shipped_policies, options):
    for rendering in set(RENDERINGS) - set(LISTING):
        assert render_policy(shipped_policies[0], rendering, options) == render_policy(shipped_policies[0], rendering)
