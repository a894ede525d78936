"""How fast a judge reads and writes, from which the seconds of a case are predicted before any case is judged.

Measured seconds would depend on what else the machine does, on what the score store already holds and on the order of
the candidates; the pace is measured once, kept with the study, and the same on resuming.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from pydantic import Field

from promptopt.core.case import GoldenCase
from promptopt.core.model import FrozenModel
from promptopt.core.prompt import LoweredPrompt
from promptopt.engines.base import GenerationRequest, JudgeEngine, Segment
from promptopt.errors import EngineError
from promptopt.policy.asking import queries_for
from promptopt.policy.reasoning import ReasonedQuery, count_queries, score_queries

_ROUNDS: Final = 3
_CASES: Final = 32
_TEXTS, _TOKENS = 4, 32


class Pace(FrozenModel):
    """Seconds that a judge takes.

    Attributes:
        read: For one more token that is read, the prompt before the case being known.
        written: For one more token that is written; 0 where nothing is to be written.
    """

    read: float = Field(ge=0.0)
    written: float = Field(default=0.0, ge=0.0)

    def seconds(self, prompts: Sequence[LoweredPrompt], cases: Sequence[GoldenCase], engine: JudgeEngine) -> float:
        """Seconds of all questions about some cases, rationales at their longest; runs no model.

        Args:
            prompts: One per question.
            cases: The cases.
            engine: Counts the tokens.
        """
        queries = [query for case in cases for query in queries_for(prompts, [case.item])]
        written = sum(query.settings.max_tokens for query in queries if isinstance(query, ReasonedQuery))
        return self.read * (count_queries(queries, engine).marginal - written) + self.written * written


def measure_pace(
    prompts: Sequence[LoweredPrompt], cases: Sequence[GoldenCase], engine: JudgeEngine, *, writes: bool
) -> Pace:
    """Times a judge on a few cases; the fastest of three rounds counts.

    Args:
        prompts: Any prompt's questions without rationales.
        cases: Up to 32 of them are judged; the scores are thrown away.
        engine: The judge.
        writes: Whether to time writing too.

    Raises:
        EngineError: The judge cannot serve the calls, or cannot write.
    """
    queries = [query for case in cases[:_CASES] for query in queries_for(prompts, [case.item])]
    tokens = max(1, count_queries(queries, engine).marginal)
    score_queries(queries, engine)  # the prompt's own tokens, and whatever a first call prepares
    read = min(score_queries(queries, engine).scores.usage.seconds for _ in range(_ROUNDS)) / tokens
    return Pace(read=read, written=min(_writing(engine) for _ in range(_ROUNDS)) if writes else 0.0)


def _writing(engine: JudgeEngine) -> float:
    """Seconds for each token of a few texts that are written side by side."""
    ask = (Segment("user", "Tell a long story."),)
    requests = [GenerationRequest(ask, max_tokens=_TOKENS, temperature=1.0, seed=seed) for seed in range(_TEXTS)]
    began = time.perf_counter()
    written = engine.generate(requests)
    seconds = time.perf_counter() - began
    if failed := [generation.failure for generation in written if generation.finish_reason == "failed"]:
        raise EngineError(f"the judge cannot write ({failed[0]})", remedy="leave reasoned programs out of the space")
    return seconds / max(1, sum(generation.tokens for generation in written))
