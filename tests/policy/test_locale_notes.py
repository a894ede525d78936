"""Notes on languages and countries, for people and judges, and unseen where there are none."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from promptopt.policy.model import Policy
from promptopt.policy.rendering import RENDERINGS, render_policy
from promptopt.policy.sop import render_html, render_markdown

NOTES = {"de": "“Asche” is slang for money.", "AT": "Party names | differ.", "pt-BR": "x"}


@pytest.fixture
def noted(data):
    return Policy.model_validate({**data, "locale_notes": NOTES})


def test_a_policy_without_notes_is_what_it_was(policy, noted):
    assert "locale_notes" not in policy.model_dump(mode="json")
    assert noted.model_dump(mode="json")["locale_notes"] == NOTES
    assert policy.digest != noted.digest
    assert Policy.model_validate(noted.model_dump(mode="json")) == noted


def test_only_the_full_rendering_shows_them(policy, noted):
    for rendering in RENDERINGS:
        plain, found = render_policy(policy, rendering), render_policy(noted, rendering)
        if rendering == "full":
            assert found == f"{plain}\n\nBy language or country:\n" + "\n".join(f"- {k}: {v}" for k, v in NOTES.items())
        else:
            assert found == plain


def test_annotators_read_them(policy, noted):
    assert "## Languages and countries" in render_markdown(noted)
    assert "- **AT**: Party names \\| differ." in render_markdown(noted)
    assert 'href="#locales"' in render_html(noted)
    assert "<dt>de</dt>" in render_html(noted)
    assert "Languages and countries" not in render_markdown(policy)
    assert "locales" not in render_html(policy)


@pytest.mark.parametrize("locale", ["German", "DE-de", "d", "de_DE", "", "DEU"])
def test_a_key_is_a_language_or_a_country(data, locale):
    with pytest.raises(ValidationError):
        Policy.model_validate({**data, "locale_notes": {locale: "note"}})
