"""Reading answers of OpenAI-compatible servers, each of which has its own idea of where log-probabilities go."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptopt.engines.base import Generation

_TOKEN_ID = re.compile(r"token_id:(\d+)")  # what vLLM writes when it is asked to name tokens by their ids


@dataclass(frozen=True, slots=True)
class TopToken:
    """One of the tokens that could come next.

    Attributes:
        text: The token as the server writes it.
        token_id: Its id where the server tells, or None.
        logprob: Natural log-probability over the whole vocabulary, as the server gave it.
    """

    text: str
    token_id: int | None
    logprob: float


@dataclass(frozen=True, slots=True)
class ServerUsage:
    """Tokens of a prompt, and how many of them the server had in its cache; None where it does not say."""

    prompt: int | None = None
    cached: int | None = None


def top_tokens(body: Mapping[str, Any]) -> list[TopToken]:
    """The tokens that could come first in an answer's first choice, the chosen one included; empty without logprobs."""
    found = _first_choice(body).get("logprobs")
    if not isinstance(found, dict):
        return []
    content = found.get("content")
    entries = list(_modern(content[0]) if isinstance(content, list) and content else _legacy(found))
    seen: dict[tuple[str, int | None, float], TopToken] = {(t.text, t.token_id, t.logprob): t for t in entries}
    return list(seen.values())


def server_usage(body: Mapping[str, Any]) -> ServerUsage:
    """What an answer says about its prompt."""
    usage = body.get("usage")
    if not isinstance(usage, dict):
        return ServerUsage()
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    return ServerUsage(_count(usage.get("prompt_tokens")), _count(cached))


def generation(body: Mapping[str, Any], stop: Sequence[str]) -> Generation:
    """The text of an answer's first choice.

    Args:
        body: The answer. Where it does not count the tokens written, four characters are taken for one.
        stop: The stop strings that were asked for; some servers leave the one that they met in the text.
    """
    choice = _first_choice(body)
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    if not isinstance(text, str):
        return Generation("", 0, "failed", "the server returned no text")
    usage = body.get("usage")
    tokens = _count(usage.get("completion_tokens")) if isinstance(usage, dict) else None
    tokens = -(-len(text) // 4) if tokens is None else tokens
    ends = [text.index(string) for string in stop if string in text]
    reason = "length" if choice.get("finish_reason") == "length" and not ends else "stop"
    return Generation(text[: min(ends, default=len(text))], tokens, reason)


def _first_choice(body: Mapping[str, Any]) -> Mapping[str, Any]:
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def _modern(position: Any) -> Iterator[TopToken]:
    """Chat completions everywhere, and every completion of llama.cpp's own server."""
    if not isinstance(position, dict):
        return
    top = position.get("top_logprobs")
    for entry in (*(top if isinstance(top, list) else ()), position):
        if isinstance(entry, dict) and isinstance(entry.get("token"), str):
            yield _token(entry["token"], entry.get("logprob"), entry.get("id"))


def _legacy(found: Mapping[str, Any]) -> Iterator[TopToken]:
    """Completions: lists by position, with the likeliest tokens as a mapping."""
    top, chosen, value = (_first(found.get(key)) for key in ("top_logprobs", "tokens", "token_logprobs"))
    named = top if isinstance(top, dict) else {}
    for text, logprob in named.items():
        yield _token(text, logprob)
    if isinstance(chosen, str) and chosen not in named:
        yield _token(chosen, value)


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, list) and values else None


def _token(text: str, value: Any, token_id: Any = None) -> TopToken:
    if match := _TOKEN_ID.fullmatch(text):
        token_id = int(match[1])
    logprob = float(value) if isinstance(value, int | float) else float("nan")
    return TopToken(text, _count(token_id), logprob)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
