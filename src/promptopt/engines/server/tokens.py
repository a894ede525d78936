"""Asking with token ids: what the server computes is what was tokenised here, and a case can never open a chat turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from promptopt.engines.base import LabelQuery, Segment
from promptopt.engines.server.answers import TopToken
from promptopt.engines.server.decisions import SHARED, Decision
from promptopt.engines.server.prompts import LabelPath, Prompts, PromptSettings
from promptopt.engines.tokenization import SegmentTokenizer, Stretch, TokenIds
from promptopt.engines.trie import TokenTree, add_label_steps
from promptopt.errors import EngineError


class TokenPrompts(Prompts):
    """Completions of token ids. Labels that share first tokens take one request per fork.

    vLLM names the labels' tokens whatever their rank (``logprob_token_ids``, from its version of July 2026 on) and
    names tokens by id; other servers ignore both wishes and name the likeliest tokens by text, which counts as long as
    one token of the vocabulary alone reads so.

    Args:
        settings: What the prompts are made with.
        tokens: The tokenizer.
        tokenizer: The Hugging Face tokenizer behind it.
    """

    path = "/completions"
    refused = "the server does not answer token ids with log-probabilities"

    def __init__(self, settings: PromptSettings, tokens: SegmentTokenizer, tokenizer: Any) -> None:
        super().__init__(settings)
        self._tokens = tokens
        self._tokenizer = tokenizer

    def probe(self) -> Mapping[str, Any]:
        stretches = self._tokens.stretches([Segment("user", "Hello")])
        ids = [token for stretch in stretches for token in stretch.ids]
        return self._body(ids, tuple(ids[:2]))

    def control(self) -> Mapping[str, Any]:
        # llama-cpp-python answers token ids with a 500, as it does when it is ill.
        return {"model": self._settings.model, "prompt": "Hello", "max_tokens": 1, "temperature": 0}

    def _stretches(self, segments: Sequence[Segment]) -> list[Stretch]:
        return self._tokens.stretches(segments)

    def _prompt(self, segments: Sequence[Segment], stretches: Sequence[Stretch], suffix: TokenIds) -> dict[str, Any]:
        return {"prompt": [token for stretch in stretches for token in stretch.ids] + list(suffix)}

    def _label_steps(self, labels: tuple[str, ...]) -> tuple[tuple[TokenIds, ...], int, tuple[LabelPath, ...]]:
        ids = self._tokens.label_ids(labels)
        forks = _forks(ids)
        number = {suffix: i for i, suffix in enumerate(forks)}
        paths = []
        for label in ids:
            begun = ((label[:depth], label[depth]) for depth in range(len(label)))
            paths.append(tuple((number[at], forks[at].index(token)) for at, token in begun if at in number))
        return tuple(forks), max(map(len, ids)), tuple(paths)

    def _decision(self, query: LabelQuery, stretches: Sequence[Stretch], suffix: TokenIds) -> Decision:
        ids = self._tokens.label_ids(query.labels)
        among = _forks(ids)[suffix]
        names = ["/".join(_reached(query.labels, ids, (*suffix, token))) for token in among]

        def match(token: TopToken) -> int | None:
            if token.token_id is not None:
                return among.index(token.token_id) if token.token_id in among else None
            readings = self._readings.get(token.text, ())
            options = [i for i, option in enumerate(among) if option in readings]
            return None if not options else options[0] if len(readings) == 1 else SHARED

        return Decision(
            body=self._body(self._prompt((), stretches, suffix)["prompt"], among),
            suffix=suffix,
            options=tuple(names),
            match=match,
            shared_reason=(
                "the server names tokens by their text, and several tokens of the vocabulary read like a label's"
            ),
        )

    def _body(self, ids: list[int], among: TokenIds) -> dict[str, Any]:
        return {
            "model": self._settings.model,
            "prompt": ids,
            "max_tokens": 1,
            "temperature": 0,
            "logprobs": self._settings.top_logprobs,
            "logprob_token_ids": list(among),
            "return_tokens_as_token_ids": True,
        }

    @cached_property
    def _readings(self) -> dict[str, tuple[int, ...]]:
        """Every text that a token of the vocabulary reads as, and the tokens that do."""
        readings: dict[str, list[int]] = {}
        for token, text in enumerate(self._tokenizer.batch_decode([[i] for i in range(len(self._tokenizer))])):
            readings.setdefault(text, []).append(token)
        return {text: tuple(ids) for text, ids in readings.items()}


def load_tokenizer(source: str, revision: str) -> Any:
    """A fast tokenizer from a folder or the hub.

    Raises:
        EngineError: It cannot be had.
    """
    from transformers import AutoTokenizer  # takes seconds

    try:
        return AutoTokenizer.from_pretrained(source, revision=revision or None, trust_remote_code=False)
    except Exception as cause:
        raise EngineError(
            f"the tokenizer {source!r} could not be loaded ({type(cause).__name__})",
            where="judge.server.tokenizer",
            remedy="give the hub id or the folder of the model's tokenizer, or leave it empty to send chat messages",
        ) from cause


def _forks(labels: tuple[TokenIds, ...]) -> dict[TokenIds, TokenIds]:
    """Where labels part: the tokens before each fork, and those to choose from."""
    tree = TokenTree()
    forks: dict[TokenIds, TokenIds] = {}
    for steps in add_label_steps(tree, -1, labels):
        for step in steps:
            before: list[int] = []
            node = step.node
            while node >= 0:
                before.append(tree.tokens[node])
                node = tree.parents[node]
            forks[tuple(reversed(before))] = step.among
    return forks


def _reached(labels: tuple[str, ...], ids: tuple[TokenIds, ...], start: TokenIds) -> list[str]:
    """The labels whose tokens begin so."""
    return [label for label, own in zip(labels, ids, strict=True) if own[: len(start)] == start]
