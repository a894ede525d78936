"""Cases, verdicts, candidates and lowered prompts: what they refuse, and what they go by."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from promptopt.core.candidate import Candidate
from promptopt.core.case import Case, GoldenCase, Label
from promptopt.core.digest import digest_data
from promptopt.core.model import FrozenModel, added
from promptopt.core.prompt import ITEM_SLOT, LoweredPrompt, PromptSegment
from promptopt.core.verdict import Verdict


@pytest.mark.parametrize("text", ["", "  \n\t", "\u2003"])
def test_a_blank_text_is_refused(text):
    with pytest.raises(ValidationError, match="text is empty"):
        Case(id="a", text=text)


def test_cases_go_by_their_text_alone():
    first, second = Case(id="a", text="same"), GoldenCase(id="b", text="same", label="allowed", group="g")
    assert first.digest == second.digest
    assert Case(id="a", text="same ").digest != first.digest


@pytest.mark.parametrize(
    "field", [{"label": "maybe"}, {"severity": 5}, {"severity": -1}, {"split": "train"}, {"id": ""}, {"extra": 1}]
)
def test_a_golden_case_refuses(field):
    with pytest.raises(ValidationError):
        GoldenCase.model_validate({"id": "a", "text": "t", "label": "allowed", "group": "g"} | field)


def test_records_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Case(id="a", text="t").text = "u"


def test_a_changed_copy_goes_by_its_own_digest():
    case = Case(id="a", text="one")
    before = case.digest
    changed = case.model_copy(update={"text": "two"})
    assert changed.digest == Case(id="a", text="two").digest != before
    assert case.digest == before, "the original keeps its own"
    assert case.model_copy(deep=True).digest == before


def test_a_changed_candidate_goes_by_its_own_digest():
    candidate = Candidate(choices={"shape": "direct"}, demos=("a", "b"))
    before = candidate.digest
    changed = candidate.model_copy(update={"demos": ("b", "a")})
    assert changed.digest == Candidate(choices={"shape": "direct"}, demos=("b", "a")).digest != before
    assert changed == Candidate(choices={"shape": "direct"}, demos=("b", "a"))


def test_a_candidate_goes_by_its_choices_whatever_their_order():
    first = Candidate(choices={"a": 1, "b": "x"})
    assert first.digest == Candidate(choices={"b": "x", "a": 1}).digest
    assert first.digest != Candidate(choices={"a": True, "b": "x"}).digest, "1 and true are two choices"
    assert first.digest.startswith(first.short_digest)


FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.text(min_size=1), st.text() | st.integers() | st.booleans() | FLOATS))
def test_a_candidate_survives_json(choices):
    candidate = Candidate(choices=choices)
    assert Candidate.model_validate_json(candidate.model_dump_json()).digest == candidate.digest


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"label": "violation"},
        {"probability": 0.5},
        {"label": "violation", "probability": 0.5, "unjudged_reason": "r"},
        {"probability": 0.5, "unjudged_reason": "r"},
        {"label": "allowed", "unjudged_reason": "r"},
        {"label": "violation", "probability": 0.5, "severity": 0},
        {"label": "violation", "probability": math.nan},
        {"label": "violation", "probability": 1.5},
        {"label": "violation", "probability": 0.9, "severity": 5},
    ],
)
def test_a_verdict_is_whole_or_gives_its_reason(fields):
    with pytest.raises(ValidationError):
        Verdict.model_validate(fields)


def test_no_verdict_is_neither_label_nor_number():
    verdict = Verdict.unjudged("too long")
    assert (verdict.label, verdict.probability, verdict.severity, verdict.is_judged) == (None, None, None, False)
    assert Verdict(label=Label.VIOLATION, probability=1.0).severity is None, "unknown, which is not 0"


SEGMENTS = (
    PromptSegment(role="system", text="Policy. "),
    PromptSegment(role="system", text="More."),
    PromptSegment(role="user", text='Text: "'),
    PromptSegment(role="user", slot=ITEM_SLOT),
    PromptSegment(role="user", text='"'),
)


def test_messages_join_the_segments_of_a_turn():
    prompt = LoweredPrompt(question="violation", segments=SEGMENTS, labels=("yes", "no"))
    assert prompt.messages("hello") == [
        {"role": "system", "content": "Policy. More."},
        {"role": "user", "content": 'Text: "hello"'},
    ]
    assert prompt.messages()[1]["content"] == 'Text: "{{text}}"'


def test_a_prompt_goes_by_what_is_scored_and_not_by_its_name():
    prompt = LoweredPrompt(question="violation", segments=SEGMENTS, labels=("yes", "no"))
    before = prompt.digest
    assert prompt.model_copy(update={"question": "V1"}).digest == before
    assert prompt.model_copy(update={"labels": ("no", "yes")}).digest != before, "the first label is the affirmative"
    assert prompt.model_copy(update={"segments": SEGMENTS[1:]}).digest != before


@pytest.mark.parametrize("labels", [("yes",), ("yes", "yes"), ("yes", " ")])
def test_labels_must_be_told_apart(labels):
    with pytest.raises(ValidationError):
        LoweredPrompt(question="q", segments=SEGMENTS, labels=labels)


def test_a_slot_with_a_fixed_text_is_refused():
    with pytest.raises(ValidationError, match="nobody would see"):
        PromptSegment(role="user", text="lost", slot=ITEM_SLOT)


class _Before(FrozenModel):
    name: str


class _After(FrozenModel):
    name: str
    notes: dict[str, str] = added({})
    share: float | None = added(None)


def test_an_added_field_is_written_only_where_it_says_something():
    record = _After(name="a")
    assert digest_data(record) == digest_data(_Before(name="a"))
    assert _After.model_validate(record.model_dump()) == record
    assert record.model_copy(update={"notes": {"en": "x"}}).model_dump() == {"name": "a", "notes": {"en": "x"}}
    assert _After(name="b").notes is not record.notes


def test_an_added_field_does_not_hide_what_json_cannot_carry():
    with pytest.raises(ValueError, match="JSON"):
        digest_data(_After(name="a", share=math.nan))
