"""Questions that are answered after a rationale: all rationales of a batch are written first, then all labels scored.

A rationale is written about a case and may repeat whatever the case says, so it is bound as untrusted case text: it
can open no chat turn, and it is shortened with the case where both are too long.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from promptopt.core.rationale import RationaleSettings
from promptopt.engines.base import (
    Generation,
    GenerationRequest,
    JudgeEngine,
    LabelQuery,
    LabelScores,
    Segment,
    TokenCount,
    Usage,
)
from promptopt.errors import EngineError
from promptopt.policy.settled import SettledQuery, ShortenedQuery

_REMEDY = "choose a judge that writes texts, or a shape that asks for no rationale (direct, checklist, graded)"


@dataclass(frozen=True, slots=True)
class ReasonedQuery:
    """A label query with a gap for a rationale that is yet to be written.

    Attributes:
        request: The messages that ask for the rationale.
        before: The query's segments before the rationale.
        after: Those after it.
        role: Whose turn the rationale is.
        labels: The closed answer space.
        settings: How the rationale is written.
        sample: Which of the prompt's rationales it is, from 0.
    """

    request: tuple[Segment, ...]
    before: tuple[Segment, ...]
    after: tuple[Segment, ...]
    role: str
    labels: tuple[str, ...]
    settings: RationaleSettings
    sample: int = 0

    def generation(self) -> GenerationRequest:
        """The request to write; its seed depends on the sample and on what is said of the case, and on nothing else."""
        text = "\n".join(segment.text for segment in self.request if segment.from_case)
        settings = self.settings
        seed = settings.seed_of(self.sample, text)
        return GenerationRequest(self.request, settings.max_tokens, settings.temperature, seed)

    def answered_after(self, rationale: str) -> LabelQuery:
        """The query with the rationale in its place."""
        written = Segment(self.role, rationale, from_case=True)
        return LabelQuery((*self.before, written, *self.after), self.labels)


WholeQuery = LabelQuery | ReasonedQuery
Query = WholeQuery | SettledQuery | ShortenedQuery[WholeQuery]


@dataclass(frozen=True, slots=True)
class Reasoned:
    """Scores and what was written on the way.

    Attributes:
        scores: One row per query. A query whose rationale could not be written is unjudged.
        rationales: Query row to its rationale; texts about cases, which are kept only where a caller asks for them.
        shortened: Rows of queries about cases of which a part was shortened.
    """

    scores: LabelScores
    rationales: dict[int, str] = field(default_factory=dict)
    shortened: frozenset[int] = frozenset()


def score_queries(queries: Sequence[Query], engine: JudgeEngine) -> Reasoned:
    """Writes the rationales that queries wait for in one call, and scores all labels in another.

    Args:
        queries: Any number, with and without rationales; those that are settled reach no judge.
        engine: The judge.

    Returns:
        The scores, in the order of the queries, and the rationales. The usage holds both calls.

    Raises:
        EngineError: The engine cannot serve the batch, or cannot write; then nothing has been scored.
    """
    shortened = frozenset(row for row, query in enumerate(queries) if isinstance(query, ShortenedQuery))
    bare = [query.query if isinstance(query, ShortenedQuery) else query for query in queries]
    waiting = {row: query for row, query in enumerate(bare) if isinstance(query, ReasonedQuery)}
    plain = {row: query for row, query in enumerate(bare) if isinstance(query, LabelQuery)}
    settled = {row: query for row, query in enumerate(bare) if isinstance(query, SettledQuery)}
    if not waiting and not settled:
        return Reasoned(engine.score(list(plain.values())), shortened=shortened)
    written, usage = _write(list(waiting.values()), engine) if waiting else ([], Usage())
    failed = {row: query.unjudged for row, query in settled.items() if query.unjudged}
    rationales: dict[int, str] = {}
    for (row, query), generation in zip(waiting.items(), written, strict=True):
        if generation.finish_reason == "failed":
            failed[row] = f"no rationale: {generation.failure}"
            continue
        rationales[row] = generation.text.strip()
        plain[row] = query.answered_after(rationales[row])
    rows = sorted(plain)
    scores = engine.score([plain[row] for row in rows]) if rows else LabelScores(np.empty((0, 0), dtype=np.float32))
    if len(scores.logprobs) != len(rows):
        raise EngineError(
            f"the judge returned {len(scores.logprobs)} rows for {len(rows)} queries", remedy="report this engine bug"
        )
    spread = _spread(scores, rows, failed, bare, usage)
    for row, stand_in in settled.items():
        spread.logprobs[row] = stand_in.logprobs(spread.logprobs.shape[1])
    return Reasoned(spread, rationales, shortened)


def count_queries(queries: Sequence[Query], engine: JudgeEngine) -> TokenCount:
    """Counts what queries would cost; runs no model.

    Rationales that are yet to be written count with their longest length, once for writing and once for reading.

    Args:
        queries: Any number.
        engine: The judge.

    Returns:
        As :meth:`JudgeEngine.count_tokens`.
    """
    bare = [query.query if isinstance(query, ShortenedQuery) else query for query in queries]
    waiting = [query for query in bare if isinstance(query, ReasonedQuery)]
    # Samples are told apart by their number, as what follows a rationale is computed for each of them anew.
    answered = [
        query.answered_after(str(query.sample)) if isinstance(query, ReasonedQuery) else query
        for query in bare
        if not isinstance(query, SettledQuery)
    ]
    counted = engine.count_tokens(answered)
    if not waiting:
        return counted
    asked = engine.count_tokens([LabelQuery(query.request, query.labels) for query in waiting])
    rationales = sum(2 * query.settings.max_tokens for query in waiting)
    return TokenCount(counted.prefix + asked.prefix, counted.marginal + asked.marginal + rationales)


def check_can_write(engine: JudgeEngine) -> None:
    """Has the engine write one token, so that one that cannot says so before anything is judged.

    Raises:
        EngineError: It cannot.
    """
    (written,) = _generated([GenerationRequest((Segment("user", "Say yes."),), max_tokens=1)], engine)
    if written.finish_reason == "failed":
        raise EngineError(f"the judge cannot write the rationales it is asked for ({written.failure})", remedy=_REMEDY)


def _write(queries: Sequence[ReasonedQuery], engine: JudgeEngine) -> tuple[list[Generation], Usage]:
    began = time.perf_counter()
    written = _generated([query.generation() for query in queries], engine)
    seconds = time.perf_counter() - began
    count = engine.count_tokens([LabelQuery(query.request, query.labels) for query in queries])
    tokens = count.prefix + count.marginal + sum(generation.tokens for generation in written)
    return written, Usage(tokens_submitted=tokens, tokens_computed=tokens, seconds=seconds, model_seconds=seconds)


def _generated(requests: Sequence[GenerationRequest], engine: JudgeEngine) -> list[Generation]:
    generate = getattr(engine, "generate", None)
    if generate is None:
        raise EngineError("the judge cannot write the rationales it is asked for", remedy=_REMEDY)
    try:
        written: list[Generation] = generate(requests)
    except NotImplementedError as cause:
        raise EngineError("the judge cannot write the rationales it is asked for", remedy=_REMEDY) from cause
    if len(written) != len(requests):
        raise EngineError(
            f"the judge wrote {len(written)} texts for {len(requests)} requests", remedy="report this engine bug"
        )
    return written


def _spread(
    scores: LabelScores,
    rows: Sequence[int],
    failed: dict[int, str],
    queries: Sequence[WholeQuery | SettledQuery],
    usage: Usage,
) -> LabelScores:
    """The scores of some rows among all of them."""
    width = max(len(query.labels) for query in queries)
    logprobs = np.full((len(queries), width), np.nan, dtype=np.float32)
    logprobs[rows, : scores.logprobs.shape[1]] = scores.logprobs
    return replace(
        scores,
        logprobs=logprobs,
        unjudged={**{rows[row]: reason for row, reason in scores.unjudged.items()}, **failed},
        dropped_tokens={rows[row]: tokens for row, tokens in scores.dropped_tokens.items()},
        usage=scores.usage + usage,
    )
