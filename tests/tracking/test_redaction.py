"""No way of quoting a case hides it, and what is redacted passes."""

from __future__ import annotations

import csv
import html
import io
import json
import textwrap
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.core.prompt import LoweredPrompt, PromptSegment, RationaleRequest
from promptopt.tracking.redaction import CaseTexts, redact_texts

TEXT = 'He said "twelve" & <b>wählt</b>\n\tthe C:\\new path, it\'s all'
TEXTS = {"a-1": TEXT, "a-2": "another quite harmless text"}


def _csv_cell(text: str) -> str:
    stream = io.StringIO()
    csv.writer(stream).writerow(["x", text])
    return stream.getvalue()


QUOTINGS = {
    "as it is": str,
    "json": json.dumps,
    "json, unicode kept": lambda text: json.dumps(text, ensure_ascii=False),
    "json in json": lambda text: json.dumps(json.dumps({"demo": text})),
    "html": html.escape,
    "html twice": lambda text: html.escape(html.escape(text)),
    "csv": _csv_cell,
    "quoted lines": lambda text: textwrap.indent(text, "> "),
    "wrapped": lambda text: textwrap.fill(text, 12),
    "upper case": str.upper,
    "repr": repr,
}


@pytest.mark.parametrize("name", QUOTINGS)
def test_a_case_is_found_and_redacted_however_it_is_quoted(name: str) -> None:
    texts = CaseTexts(TEXTS)
    written = f"Example:\n{QUOTINGS[name](TEXT)}\nAnswer: yes"
    assert texts.find(written) == "a-1"
    redacted = texts.redact(written)
    assert texts.find(redacted) is None
    assert "[case a-1]" in redacted
    assert redacted.startswith("Example:\n")
    assert redacted.endswith("\nAnswer: yes")
    assert "twelve" not in redacted.lower()


def test_the_longest_text_goes_first() -> None:
    texts = {"short": "a common beginning", "long": "a common beginning and its end"}
    assert redact_texts("x: a common beginning and its end!", texts) == "x: [case long]!"
    assert redact_texts("x: a common beginning.", texts) == "x: [case short]."


def test_every_occurrence_goes() -> None:
    texts = {"1": "the very first text", "2": "the second such text"}
    written = "the very first text; the second such text; the very first text"
    assert redact_texts(written, texts) == "[case 1]; [case 2]; [case 1]"


def test_short_texts_are_redacted_as_words_but_not_forbidden() -> None:
    texts = CaseTexts({"s": "no way"})
    assert texts.redact("no way, snow way") == "[case s], snow way"
    assert texts.find("no way") is None


def test_ids_are_taken_literally() -> None:
    assert redact_texts("no way", {r"a\1": "no way"}) == r"[case a\1]"


def test_texts_that_are_not_there_change_nothing() -> None:
    assert redact_texts("A {{x}} \\n &amp; B", TEXTS) == "A {{x}} \\n &amp; B"
    assert CaseTexts({}).find(TEXT) is None


def test_a_text_split_over_segments_is_redacted() -> None:
    prompt = LoweredPrompt(
        question="q",
        segments=(
            PromptSegment(role="system", text="Text: another quite "),
            PromptSegment(role="system", text="harmless text. Text: "),
            PromptSegment(role="system", slot="text"),
            PromptSegment(role="user", text="another quite harmless text?"),
        ),
        labels=("yes", "no"),
    )
    redacted = CaseTexts(TEXTS).redact_prompt(prompt)
    assert redacted.messages("ITEM") == [
        {"role": "system", "content": "Text: [case a-2]. Text: ITEM"},
        {"role": "user", "content": "[case a-2]?"},
    ]
    assert (redacted.question, redacted.labels) == ("q", ("yes", "no"))


def test_what_asks_for_a_rationale_is_redacted_too() -> None:
    asks = RationaleRequest(
        segments=(
            PromptSegment(role="system", text=f"Text: {TEXTS['a-2']}."),
            PromptSegment(role="user", slot="text"),
        )
    )
    gap = PromptSegment(role="assistant", slot="rationale")
    prompt = LoweredPrompt(question="q", segments=(*asks.segments, gap), labels=("yes", "no"), rationale=asks)
    redacted = CaseTexts(TEXTS).redact_prompt(prompt)
    assert redacted.rationale is not None
    assert redacted.rationale.segments[0].text == redacted.segments[0].text == "Text: [case a-2]."
    assert redacted.rationale.segments[1:] == asks.segments[1:]


def test_a_large_table_is_checked_in_time() -> None:
    texts = CaseTexts({f"c{i}": f"number {i} is one of many forbidden sentences" for i in range(20_000)})
    table = "an innocent row of numbers, ids and labels\n" * 12_000
    started = time.monotonic()
    assert texts.find(table) is None
    assert texts.find(table + "Number 17 is one of many forbidden sentences.") == "c17"
    assert time.monotonic() - started < 5


@given(
    text=st.text(min_size=12),
    before=st.text(alphabet='xyz \n\\"&{', max_size=20),
    quote=st.sampled_from([str, json.dumps, html.escape]),
)
def test_redaction_leaves_nothing_that_is_forbidden(text: str, before: str, quote: type[str]) -> None:
    texts = CaseTexts({"c": text, "d": "the other forbidden text"})
    redacted = texts.redact(f"{before} {quote(text)} {quote('the other forbidden text')}")
    assert texts.find(redacted) is None
    assert "the other forbidden text" not in redacted
