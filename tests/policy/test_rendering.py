"""Each rendering says as much of the policy as its name promises."""

from __future__ import annotations

import pytest

from promptopt.policy.model import Policy
from promptopt.policy.rendering import RENDERINGS, render_policy


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
