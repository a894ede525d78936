"""The server engine's parts that need no server: reading answers, deciding, cleaning messages, ordering."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from promptopt.engines.base import LabelQuery, Segment
from promptopt.engines.server.answers import ServerUsage, TopToken, generation, server_usage, top_tokens
from promptopt.engines.server.chat import ChatPrompts
from promptopt.engines.server.decisions import SHARED, Decision, read_decision
from promptopt.engines.server.messages import server_message
from promptopt.engines.server.prompts import PromptSettings
from promptopt.engines.server.schedule import run_groups
from promptopt.engines.server.tokens import TokenPrompts
from promptopt.engines.tokenization import SegmentTokenizer
from promptopt.errors import EngineError, LabelSetError
from promptopt.testing import engine as kit
from promptopt.testing.tiny_model import train_tiny_tokenizer

TOKENIZER = train_tiny_tokenizer()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices", "logprobs", "content", "top_logprobs", "tokens", "token_logprobs", "token", "id",
                    "logprob", "message", "text", "usage", "prompt_tokens", "prompt_tokens_details", "error", "detail",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)  # fmt: skip


def _chat(labels: tuple[str, ...]) -> Decision:
    prepared = ChatPrompts(PromptSettings("m")).prepare(0, kit.query("text", labels))
    assert not isinstance(prepared, str)
    return prepared.decisions[0]


def _tops(**probabilities: float) -> list[TopToken]:
    return [TopToken(text, None, math.log(p)) for text, p in probabilities.items()]


# --- answers ----------------------------------------------------------------------------------------------------------


@given(JSON)
def test_any_answer_can_be_read(body: Any) -> None:
    whole = {"choices": [{"logprobs": body, "message": body}], "usage": body}
    for answer in (whole, {"choices": body, "usage": body}, {}):
        assert all(isinstance(token.logprob, float) for token in top_tokens(answer))
        assert server_usage(answer).prompt is None or server_usage(answer).prompt >= 0  # type: ignore[operator]
        assert generation(answer, ()).finish_reason in ("stop", "length", "failed")
    server_message(json.dumps(body).encode(), ["text"])


def test_three_ways_of_naming_tokens() -> None:
    vllm = {
        "tokens": ["token_id:5"],
        "token_logprobs": [-0.1],
        "top_logprobs": [{"token_id:5": -0.1, "token_id:7": -3}],
    }
    llama = {"content": [{"id": 5, "token": " a", "logprob": -0.1, "top_logprobs": [
        {"id": 5, "token": " a", "logprob": -0.1}, {"id": 7, "token": "b", "logprob": -3.0}]}]}  # fmt: skip
    assert [(t.token_id, t.logprob) for t in top_tokens({"choices": [{"logprobs": vllm}]})] == [(5, -0.1), (7, -3.0)]
    assert [(t.token_id, t.logprob) for t in top_tokens({"choices": [{"logprobs": llama}]})] == [(5, -0.1), (7, -3.0)]
    chosen_only = {"tokens": ["yes"], "token_logprobs": [-0.2], "top_logprobs": None}
    assert top_tokens({"choices": [{"logprobs": chosen_only}]}) == [TopToken("yes", None, -0.2)]


def test_usage_and_texts() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}}
    assert server_usage({"usage": usage}) == ServerUsage(10, 8)
    choice = {"message": {"content": "one STOP two"}, "finish_reason": "length"}
    cut = generation({"choices": [choice], "usage": usage}, ("STOP",))
    assert (cut.text, cut.tokens, cut.finish_reason) == ("one ", 2, "stop")
    assert generation({"choices": [{"message": {"content": None}}]}, ()).failure == "the server returned no text"


# --- decisions --------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-30, 0), min_size=2, max_size=4))
def test_options_are_normalised_over_themselves(values: list[float]) -> None:
    assume(math.fsum(map(math.exp, values)) <= 1)
    options = tuple("abcd"[: len(values)])
    decision = Decision({}, (), options, lambda token: options.index(token.text) if token.text in options else None, "")
    tokens = [TopToken(name, None, value) for name, value in zip(options, values, strict=True)]
    found = read_decision(decision, tokens)
    assert not isinstance(found, str)
    expected = np.asarray(values) - np.logaddexp.reduce(values)
    assert np.allclose(found, expected)
    assert read_decision(decision, tokens[::-1]) == pytest.approx(found)


def test_spellings_of_a_label_add_up() -> None:
    decision = _chat(("allowed", "violates"))
    tops = [TopToken(t, None, math.log(p)) for t, p in ((" all", 0.3), ("allowed", 0.1), ("viol", 0.2), ("x", 0.3))]
    found = read_decision(decision, tops)
    assert not isinstance(found, str)
    assert np.exp(found) == pytest.approx([2 / 3, 1 / 3])


def test_tokens_longer_than_a_label_and_other_cases_do_not_count() -> None:
    found = read_decision(_chat(("yes", "no")), _tops(yes=0.2, no=0.2, nope=0.3, Yes=0.1))
    assert found == pytest.approx([math.log(0.5)] * 2)


def test_a_missing_option_is_bounded_by_what_is_left_over() -> None:
    """The smallest named token is likely, but all named ones leave almost nothing over."""
    decision = _chat(("yes", "no"))
    found = read_decision(decision, _tops(yes=0.6, x=0.39999))
    assert not isinstance(found, str)
    assert np.exp(found)[1] == pytest.approx(1e-5 / 0.6, rel=0.15)
    unknown = read_decision(decision, _tops(yes=0.6, x=0.3))
    assert isinstance(unknown, str)
    assert unknown.startswith("label 'no' is not among the 2 likeliest tokens")


def test_at_least_one_option_must_be_named() -> None:
    found = read_decision(_chat(("yes", "no")), _tops(x=0.9999))
    assert isinstance(found, str)
    assert found.startswith("none of labels 'yes', 'no' is among")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 0.1])
def test_numbers_that_are_no_log_probabilities(value: float) -> None:
    tokens = [TopToken("yes", None, -1.0), TopToken("no", None, -1.0), TopToken("x", None, value)]
    found = read_decision(_chat(("yes", "no")), tokens)
    assert isinstance(found, str)
    assert "as a log-probability" in found


def test_tokens_named_by_text_must_be_the_only_ones_that_read_so() -> None:
    tokens = SegmentTokenizer(TOKENIZER)
    prompts = TokenPrompts(PromptSettings("m"), tokens, TOKENIZER)
    prepared = prompts.prepare(0, kit.query("text"))
    assert not isinstance(prepared, str)
    match, first = prepared.decisions[0].match, [ids[0] for ids in tokens.label_ids(("violates", "allowed"))]
    for token in first:
        assert match(TopToken(TOKENIZER.decode([token]), None, -1.0)) == match(TopToken("?", token, -1.0))
    assert match(TopToken("\ufffd", None, -1.0)) is None
    readings = prompts._readings
    readings[TOKENIZER.decode([first[0]])] += (599,)
    assert match(TopToken(TOKENIZER.decode([first[0]]), None, -1.0)) == SHARED


# --- chat messages ----------------------------------------------------------------------------------------------------


@given(st.text(max_size=40), st.text(max_size=40))
@example("a\x00", "\x00")
@example("", "🙂👩‍👩‍👧x")
def test_chat_messages_hold_the_texts(policy: str, text: str) -> None:
    segments = (Segment("system", policy), Segment("user", "Text: "), Segment("user", text, from_case=False))
    prepared = ChatPrompts(PromptSettings("m")).prepare(0, LabelQuery(segments, ("yes", "no")))
    assert not isinstance(prepared, str)
    assert prepared.decisions[0].body["messages"] == [
        {"role": "system", "content": policy},
        {"role": "user", "content": f"Text: {text}"},
    ]


@pytest.mark.parametrize("labels", [("yes",), ("yes", "yes"), ("no", "none"), ("", "no"), (" ", "no"), ("\n", "no")])
def test_labels_that_cannot_be_told_apart(labels: tuple[str, ...]) -> None:
    with pytest.raises(LabelSetError):
        _chat(labels)


def test_labels_that_share_their_first_word_are_for_token_ids() -> None:
    with pytest.raises(EngineError, match="begin with the same word") as caught:
        _chat(("rule 1", "rule 2"))
    assert not isinstance(caught.value, LabelSetError)


# --- messages ---------------------------------------------------------------------------------------------------------


@given(st.text(min_size=1, max_size=40), st.text(max_size=20), st.text(max_size=20))
@example("世界的和平与安宁的一天", "before ", " after")
@example('say "hi"\n\tthere, friend', "", "")
@example("0\ud7fc²", "", "")
def test_messages_never_repeat_a_text(text: str, before: str, after: str) -> None:
    assume(any(character.isalnum() for character in text))
    for form in (text, json.dumps(text), repr(text), text.upper()):
        body = json.dumps({"error": {"message": before + form + after}}).encode()
        assert server_message(body, [text]) == ""


def test_messages_never_repeat_signs() -> None:
    assert server_message("{'error': 'bad 🙂🧨'}".replace("'", '"').encode(), ["🙂🧨"]) == ""


def test_messages_are_found_and_shortened() -> None:
    assert server_message(b'{"error": {"message": "too\\n long", "code": 400}}', ["hello"]) == "too long"
    assert server_message(b'{"detail": [{"msg": "a", "input": "secret"}, {"msg": "b"}]}', []) == "a; b"
    assert server_message(b'{"message": "ids [1, 2, 3, 4, 5] are bad"}', []) == "ids [...] are bad"
    assert len(server_message(json.dumps({"error": "word " * 100}).encode(), [])) < 200
    assert server_message(b"<html>", []) == server_message(b"{}", []) == server_message(b"[]", []) == ""


# --- order ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 4), max_size=8), st.integers(1, 5), st.randoms(use_true_random=False))
def test_every_job_is_done_once_and_leaders_first(sizes: list[int], concurrency: int, dice: Any) -> None:
    events: list[tuple[str, int, int]] = []
    running = 0

    async def work(job: tuple[int, int]) -> None:
        nonlocal running
        running += 1
        assert running <= concurrency
        events.append(("begin", *job))
        for _ in range(dice.randrange(4)):
            await asyncio.sleep(0)
        events.append(("end", *job))
        running -= 1

    asyncio.run(run_groups([[(g, i) for i in range(size)] for g, size in enumerate(sizes)], concurrency, work))
    begun = [event[1:] for event in events if event[0] == "begin"]
    assert sorted(begun) == [(g, i) for g, size in enumerate(sizes) for i in range(size)]
    assert [g for g, i in begun if i == 0] == [g for g, size in enumerate(sizes) if size]
    for g, size in enumerate(sizes):
        for i in range(1, size):
            assert events.index(("end", g, 0)) < events.index(("begin", g, i))


def test_an_exception_ends_the_other_jobs() -> None:
    done: list[int] = []

    async def work(job: int) -> None:
        await asyncio.sleep(0)
        if job == 1:
            raise EngineError("gone")
        await asyncio.sleep(0.01)
        done.append(job)

    with pytest.raises(EngineError, match="gone"):
        asyncio.run(run_groups([[job] for job in range(100)], 3, work))
    assert len(done) < 3
