"""The contract of a judge engine.

Programs, sweeps and bundles call :meth:`JudgeEngine.score` with any number of queries; engines own the batching. A
caller may not rely on the order in which queries are computed, only on the order of the rows returned, and must not
mutate what it is given back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of one chat message.

    Attributes:
        role: ``"system"``, ``"user"`` or ``"assistant"``; consecutive segments of one role form one message.
        text: The text, joined to its neighbours without a separator.
        from_case: True for text that comes from a case. It is untrusted: always tokenised as plain text, so it can
            never open a chat turn, and it is what gets shortened when a query is longer than the context.
    """

    role: str
    text: str
    from_case: bool = False


@dataclass(frozen=True, slots=True)
class LabelQuery:
    """One question with a closed answer space.

    Attributes:
        segments: The chat messages; engines share the computation of equal leading stretches.
        labels: Two or more distinct labels that the judge's turn could open with.
    """

    segments: tuple[Segment, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Usage:
    """What a call cost.

    Attributes:
        queries: Queries scored.
        tokens_submitted: Tokens of all queries, each counted in full.
        tokens_computed: Tokens that went through the model; less, where stretches are shared.
        seconds: Wall time of the call.
        model_seconds: The part of it spent in the model's forward pass.
    """

    queries: int = 0
    tokens_submitted: int = 0
    tokens_computed: int = 0
    seconds: float = 0.0
    model_seconds: float = 0.0

    def __add__(self, other: Usage) -> Usage:
        return Usage(**{name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__})


@dataclass(frozen=True, slots=True)
class LabelScores:
    """The answer to a batch of queries, row by row.

    Attributes:
        logprobs: float32 of shape (queries, most labels in the batch): natural log-probabilities normalised over each
            query's own labels; -inf beyond a query's last label; NaN throughout an unjudged row.
        unjudged: Row number to the reason why the row has no scores.
        dropped_tokens: Row number to the number of case tokens left out because the query was too long.
        usage: What the call cost.
    """

    logprobs: npt.NDArray[np.float32]
    unjudged: Mapping[int, str] = field(default_factory=dict)
    dropped_tokens: Mapping[int, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True, slots=True)
class EngineCard:
    """Everything that a score depends on besides the query.

    Attributes:
        engine: Kind of engine (``"local"``, ``"server"``, ``"fake"``). Engines that only pass queries on, such as Ray
            actors, show the card of the engine behind them.
        model: Hub id or name of the model; never a path of one machine.
        revision: Hub revision, or an empty string.
        weights_digest: SHA-256 over the weight files.
        dtype: Number format of the weights and activations.
        quantization: Name of the weight quantisation, or an empty string.
        chat_template_digest: SHA-256 of the chat template.
        truncation: The rule for texts that are too long.
        device: Kind of device, for information; not part of the fingerprint.
        versions: Library versions, for information; not part of the fingerprint.
    """

    engine: str
    model: str
    revision: str
    weights_digest: str
    dtype: str
    quantization: str
    chat_template_digest: str
    truncation: str
    device: str
    versions: Mapping[str, str]

    @property
    def fingerprint(self) -> str:
        """SHA-256 over what determines the scores; scores are stored under it."""
        facts = self.to_dict()
        del facts["device"], facts["versions"]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, object]:
        """Plain data, for JSON."""
        return {**asdict(self), "versions": dict(self.versions)}


@dataclass(frozen=True, slots=True)
class TokenCount:
    """What a batch of queries would cost, before it is scored.

    Attributes:
        prefix: Tokens before the first case text, each distinct prefix counted once; engines that share what prefixes
            begin with count that once, too.
        marginal: All other tokens, stretches shared between the questions about one case counted once.
    """

    prefix: int
    marginal: int


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Text that the judge is asked to write: a rationale, or a proposal for a prompt.

    Attributes:
        segments: The chat messages, as in :class:`LabelQuery`.
        max_tokens: Most tokens to write; at least 1.
        temperature: 0 takes the likeliest token at each step.
        seed: With a temperature, equal requests with equal seeds get equal texts, whatever else is in the batch.
        stop: Strings that end the text; they are not part of it.
    """

    segments: tuple[Segment, ...]
    max_tokens: int = 128
    temperature: float = 0.0
    seed: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Generation:
    """What an engine wrote.

    Attributes:
        text: The text, special tokens left out; empty where ``failure`` is not.
        tokens: Tokens written.
        finish_reason: ``"stop"`` (the model or a stop string ended it), ``"length"``, or ``"failed"``.
        failure: Why nothing was written, or an empty string.
    """

    text: str
    tokens: int
    finish_reason: str
    failure: str = ""


@runtime_checkable
class JudgeEngine(Protocol):
    """Scores closed label sets, and writes short texts."""

    def score(self, queries: Sequence[LabelQuery]) -> LabelScores:
        """Scores every query.

        Args:
            queries: Any number, in any order; an empty sequence gives scores of shape (0, 0).

        Returns:
            One row per query, in the order of the queries.

        Raises:
            EngineError: The engine cannot serve this batch at all. A single bad query never raises: its row is
                marked unjudged with the reason.
            LabelSetError: The judge cannot tell two labels of a query apart.
        """
        ...

    def count_tokens(self, queries: Sequence[LabelQuery]) -> TokenCount:
        """Counts what the queries would cost; runs no model. Queries that cannot be judged count nothing."""
        ...

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """Writes a text for every request.

        Args:
            requests: Any number, in any order.

        Returns:
            One generation per request, in order. A single bad request never raises: its generation is marked failed.

        Raises:
            EngineError: The engine cannot serve this batch at all.
        """
        ...

    def describe(self) -> EngineCard:
        """The facts that scores depend on; the same card for the lifetime of the engine."""
        ...

    def close(self) -> None:
        """Releases the model's memory; the engine is not used afterwards."""
        ...
