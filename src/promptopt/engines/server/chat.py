"""Asking with chat messages, for servers whose tokenizer is not at hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from typing import Any

from promptopt.engines.base import LabelQuery, Segment
from promptopt.engines.server.answers import TopToken
from promptopt.engines.server.decisions import SHARED, Decision
from promptopt.engines.server.prompts import LabelPath, Prompts
from promptopt.engines.tokenization import Stretch, TokenIds, without_system_role
from promptopt.errors import EngineError, LabelSetError

CHARACTERS_PER_TOKEN = 4
RULE = "chat messages, control strings in cases broken by a space"
_REMEDY = "set judge.server.tokenizer to the model's tokenizer"
# What opens or closes turns in the chat formats in use; which one the server's model has is not known here.
_CONTROL = re.compile(r"<(?=[|｜][^<>\n]{1,64}[|｜]>|/?[a-z_]{1,32}>|</?[A-Z]+>>)|\[(?=/?[A-Z_]{3,32}\])")


class ChatPrompts(Prompts):
    """Chat completions. The server applies its own chat template, and reads control tokens in what it is sent: where a
    case imitates one, a space breaks it. Four characters are taken for a token.
    """

    path = "/chat/completions"
    refused = "the server does not answer chat messages with log-probabilities"

    def probe(self) -> Mapping[str, Any]:
        return self._body([{"role": "user", "content": "Hello"}])

    def _stretches(self, segments: Sequence[Segment]) -> list[Stretch]:
        out = []
        for segment in segments:
            segment.text.encode()  # a lone surrogate is reported here, as what it is
            ids = _pack(_CONTROL.sub(r"\g<0> ", segment.text)) if segment.from_case else _pack_known(segment.text)
            out.append(Stretch(ids, segment.from_case))
        return out

    def _prompt(self, segments: Sequence[Segment], stretches: Sequence[Stretch], suffix: TokenIds) -> dict[str, Any]:
        if not self._settings.system_role:
            segments = without_system_role(segments)
        pairs = zip(segments, stretches, strict=True)
        texts = ((s.role, _unpack(stretch.ids) if s.from_case else s.text) for s, stretch in pairs)
        turns = groupby(texts, key=lambda pair: pair[0])
        return {"messages": [{"role": role, "content": "".join(text for _, text in turn)} for role, turn in turns]}

    def _label_steps(self, labels: tuple[str, ...]) -> tuple[tuple[TokenIds, ...], int, tuple[LabelPath, ...]]:
        _check_labels(labels)
        return ((),), 1, tuple(((0, option),) for option in range(len(labels)))

    def _decision(self, query: LabelQuery, stretches: Sequence[Stretch], suffix: TokenIds) -> Decision:
        labels = tuple(map(_lead, query.labels))

        def match(token: TopToken) -> int | None:
            text = _lead(token.text)
            begun = [i for i, label in enumerate(labels) if text and label.startswith(text)]
            return None if not begun else begun[0] if len(begun) == 1 else SHARED

        return Decision(
            body=self._body(self._prompt(query.segments, stretches, suffix)["messages"]),
            suffix=suffix,
            options=query.labels,
            match=match,
            shared_reason=f"the likeliest tokens begin several of the labels {list(query.labels)} ({_REMEDY})",
        )

    def _body(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        return {
            "model": self._settings.model,
            "messages": messages,
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": True,
            "top_logprobs": self._settings.top_logprobs,
        }


def _check_labels(labels: tuple[str, ...]) -> None:
    if len(labels) < 2:
        raise LabelSetError(f"a question needs two labels or more, found {list(labels)}")
    words: dict[str, str] = {}
    for i, label in enumerate(map(_lead, labels)):
        for j, other in enumerate(map(_lead, labels)):
            if not label.strip() or (i != j and other.startswith(label)):
                raise LabelSetError(
                    f"label {labels[i]!r} cannot be told from {labels[j]!r}",
                    remedy="choose labels that do not begin alike",
                )
        first = label.split()[0]
        if first in words:
            raise EngineError(
                f"labels {words[first]!r} and {labels[i]!r} begin with the same word, and a chat completion shows only "
                "the first token of an answer",
                where="judge.server.tokenizer",
                remedy=f"{_REMEDY}, or choose labels with different first words",
            )
        words[first] = labels[i]


def _lead(text: str) -> str:
    """Text without the space that many vocabularies join to a word, or the sign that stands for it."""
    return text.lstrip(" \u2581")


def _pack(text: str) -> TokenIds:
    """Four characters at a time as one number, so that counting and shortening follow the rules for tokens."""
    pieces = (text[i : i + CHARACTERS_PER_TOKEN] for i in range(0, len(text), CHARACTERS_PER_TOKEN))
    # The mark at the end keeps NUL characters before it from being lost as leading zeros.
    return tuple(int.from_bytes(f"{piece}\1".encode("utf-32-le"), "little") for piece in pieces)


def _unpack(ids: TokenIds) -> str:
    size = 4 * (CHARACTERS_PER_TOKEN + 1)
    return "".join(number.to_bytes(size, "little").decode("utf-32-le").rstrip("\0")[:-1] for number in ids)


_pack_known = lru_cache(maxsize=1024)(_pack)
