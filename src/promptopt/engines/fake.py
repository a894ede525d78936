"""A judge without a model: deterministic scores from digests, for tests and dry runs."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from promptopt.engines.base import (
    EngineCard,
    Generation,
    GenerationRequest,
    LabelQuery,
    LabelScores,
    Segment,
    TokenCount,
    Usage,
)
from promptopt.errors import LabelSetError

DEFAULT_SIGNAL: Mapping[str, float] = MappingProxyType(
    {"kill": 2.5, "bomb": 2.5, "hurt": 2.0, "die": 2.0, "hate": 2.0, "slur": 2.0, "sex": 2.0, "you": 1.0, "your": 1.0}
)
_WORD = re.compile(r"[^\W_]+", re.UNICODE)


class FakeEngine:
    """Scores that depend on the prompt, the text and nothing else; see :class:`promptopt.engines.base.JudgeEngine`.

    Every label gets noise drawn from SHA-256 of (prompt, text, label, seed). A text with a word of ``signal`` has the
    word's shift added to its first label, times a strength between 0 and 1 that is drawn from the prompt: some prompts
    see what is there and others do not, so a search has something to find. Words stand for tokens.

    Args:
        seed: Another seed is another judge.
        signal: Lower-case word to logit shift; :data:`DEFAULT_SIGNAL` when None.
        delay: Seconds that each query takes.
        unjudged_words: Lower-case words; a text with one of them gets no verdict.

    Attributes:
        calls: Calls of ``score`` so far.
        queries_seen: Queries scored so far.
    """

    def __init__(
        self,
        seed: int = 0,
        signal: Mapping[str, float] | None = None,
        delay: float = 0.0,
        unjudged_words: Collection[str] = (),
    ) -> None:
        self._seed = seed
        self._signal = dict(DEFAULT_SIGNAL if signal is None else signal)
        self._delay = delay
        self._unjudged_words = frozenset(unjudged_words)
        self.calls = 0
        self.queries_seen = 0

    def score(self, queries: Sequence[LabelQuery]) -> LabelScores:
        began = time.perf_counter()
        width = max((len(q.labels) for q in queries), default=0)
        logprobs = np.full((len(queries), width), np.nan, dtype=np.float32)
        unjudged: dict[int, str] = {}
        for row, query in enumerate(queries):
            _check_labels(query.labels)
            found = self._unjudged_words.intersection(_words(_case_text(query)))
            if found:
                unjudged[row] = f"the text holds the word {min(found)!r}"
                continue
            logprobs[row] = -np.inf
            logprobs[row, : len(query.labels)] = self._logprobs(query)
        if self._delay:
            time.sleep(self._delay * len(queries))
        self.calls += 1
        self.queries_seen += len(queries)
        counted = self.count_tokens(queries)
        usage = Usage(
            queries=len(queries),
            tokens_submitted=sum(len(_words(s.text)) for q in queries for s in q.segments),
            tokens_computed=counted.prefix + counted.marginal,
            seconds=time.perf_counter() - began,
        )
        return LabelScores(logprobs, unjudged, {}, usage)

    def count_tokens(self, queries: Sequence[LabelQuery]) -> TokenCount:
        prefixes: set[tuple[Segment, ...]] = set()
        rows: set[tuple[Segment, ...]] = set()
        for query in queries:
            if self._unjudged_words.intersection(_words(_case_text(query))):
                continue
            cut = next((i for i, s in enumerate(query.segments) if s.from_case), len(query.segments))
            prefixes.add(query.segments[:cut])
            rows.add(query.segments)
        prefix = sum(len(_words(s.text)) for segments in prefixes for s in segments)
        marginal = sum(len(_words(s.text)) for segments in rows for s in _after_prefix(segments))
        return TokenCount(prefix, marginal)

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """Words drawn from the request's own text: the same for the same request, another with another seed."""
        out = []
        for request in requests:
            words = _words("\n".join(s.text for s in request.segments)) or ["nothing"]
            key = json.dumps([[s.role, s.text, s.from_case] for s in request.segments])
            seed = str(request.seed) if request.temperature else ""
            drawn = [words[int(_uniform(key, seed, str(i)) * len(words))] for i in range(request.max_tokens)]
            text = " ".join(drawn)
            cut = min((text.index(stop) for stop in request.stop if stop in text), default=len(text))
            reason = "length" if cut == len(text) else "stop"
            out.append(Generation(text[:cut], len(_words(text[:cut])), reason))
        return out

    def describe(self) -> EngineCard:
        facts = json.dumps([self._seed, sorted(self._signal.items()), sorted(self._unjudged_words)])
        return EngineCard(
            engine="fake",
            model="fake",
            revision="",
            weights_digest=hashlib.sha256(facts.encode()).hexdigest(),
            dtype="float32",
            quantization="",
            chat_template_digest="",
            truncation="none",
            device="cpu",
            versions={"numpy": np.__version__},
        )

    def close(self) -> None:
        """Nothing to release."""

    def _logprobs(self, query: LabelQuery) -> npt.NDArray[np.float32]:
        prompt = [[s.role, "" if s.from_case else s.text, s.from_case] for s in query.segments]
        key = json.dumps([prompt, list(query.labels), self._seed])
        text = _case_text(query)
        logits = np.array([4.0 * _uniform(key, text, label) - 2.0 for label in query.labels])
        shift = sum(self._signal.get(word, 0.0) for word in set(_words(text)))
        logits[0] += shift * _uniform(key, "strength") + _uniform(key, "bias") - 0.5
        return np.asarray(logits - np.logaddexp.reduce(logits), dtype=np.float32)


def _uniform(*parts: str) -> float:
    """A number in [0, 1) that the parts determine."""
    digest = hashlib.sha256(json.dumps(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2.0**64


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _case_text(query: LabelQuery) -> str:
    return "\n".join(s.text for s in query.segments if s.from_case)


def _after_prefix(segments: tuple[Segment, ...]) -> tuple[Segment, ...]:
    cut = next((i for i, s in enumerate(segments) if s.from_case), len(segments))
    return segments[cut:]


def _check_labels(labels: Sequence[str]) -> None:
    for i, label in enumerate(labels):
        for j, other in enumerate(labels):
            if not label or (i != j and f"{other} ".startswith(f"{label} ")):
                raise LabelSetError(
                    f"label {label!r} cannot be told from {other!r}", remedy="choose labels that do not begin alike"
                )
    if len(labels) < 2:
        raise LabelSetError(f"a question needs two labels or more, found {list(labels)}")
