"""A template stands for one prompt exactly, and MLflow sees variables only where slots are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.core.prompt import LoweredPrompt, PromptSegment
from promptopt.tracking.base import TrackingError
from promptopt.tracking.template import (
    JOINER,
    chat_template,
    check_prompt_name,
    escape_template,
    fill_template,
    prompt_name,
    unescape_template,
)

BRACES = st.text(alphabet="{}%#x" + JOINER, max_size=12)
SEGMENTS = st.lists(
    st.one_of(
        st.builds(PromptSegment, role=st.sampled_from(["system", "user"]), text=BRACES),
        st.just(PromptSegment(role="user", slot="text")),
    ),
    min_size=1,
    max_size=6,
)


@given(BRACES)
def test_escaping_is_undone_exactly(text: str) -> None:
    escaped = escape_template(text)
    assert unescape_template(escaped) == text
    assert not any(opening in escaped for opening in ("{{", "{%", "{#"))


@given(SEGMENTS, BRACES)
def test_a_filled_template_is_the_prompt(segments: list[PromptSegment], item: str) -> None:
    prompt = LoweredPrompt(question="q", segments=tuple(segments), labels=("yes", "no"))
    assert fill_template(chat_template(prompt), {"text": item}) == prompt.messages(item)


def test_plain_text_is_not_touched() -> None:
    assert escape_template('{"a": {"b": 1}} 100 % }}') == '{"a": {"b": 1}} 100 % }}'


def test_braces_that_meet_at_a_seam_are_escaped() -> None:
    segments = (PromptSegment(role="user", text="{"), PromptSegment(role="user", text="{x}}"))
    prompt = LoweredPrompt(question="q", segments=segments, labels=("yes", "no"))
    assert chat_template(prompt) == [{"role": "user", "content": f"{{{JOINER}{{x}}}}"}]


def test_a_slot_without_a_value_is_an_error() -> None:
    prompt = LoweredPrompt(question="q", segments=(PromptSegment(role="user", slot="reply"),), labels=("yes", "no"))
    with pytest.raises(KeyError, match="reply"):
        fill_template(chat_template(prompt), {"text": "x"})


def test_a_slot_that_is_no_variable_name_is_an_error() -> None:
    prompt = LoweredPrompt(question="q", segments=(PromptSegment(role="user", slot="a b"),), labels=("yes", "no"))
    with pytest.raises(TrackingError, match="'a b'"):
        chat_template(prompt)


def test_any_parts_make_a_name_that_registries_take() -> None:
    assert prompt_name("self harm", "checklist", "V2.b", "é/ü") == "self-harm.checklist.V2.b.-"
    check_prompt_name(prompt_name("a b", "ö"))
    with pytest.raises(TrackingError, match="prompt name"):
        check_prompt_name("a b")
