"""Asks the questions of several procedures in one engine call, so that the engine packs and shares over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from promptopt.core.prompt import LoweredPrompt
from promptopt.engines.base import JudgeEngine, LabelScores, Usage
from promptopt.errors import EngineError
from promptopt.policy.asking import Answers, answer, answers_of, queries_for
from promptopt.policy.reasoning import Query, Reasoned, score_queries

Fact = TypeVar("Fact")


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions of one procedure about some cases; see :func:`promptopt.policy.asking.answer`."""

    prompts: Sequence[LoweredPrompt]
    texts: Sequence[str]


def answer_together(asked: Sequence[Asked], engine: JudgeEngine) -> tuple[list[Answers], Usage]:
    """Asks everything in one engine call, after one in which rationales are written, if any.

    Args:
        asked: Any number of procedures' questions, each about cases of its own; two procedures may have questions of
            one name.
        engine: The judge.

    Returns:
        The answers to each, whose own usage is zero, and what the call cost.

    Raises:
        EngineError: The engine cannot serve the batch, or returned another number of rows than it was asked for.
    """
    queries: list[Query] = []
    ends = []
    for one in asked:
        queries.extend(queries_for(one.prompts, one.texts))
        ends.append(len(queries))
    if not queries:
        return [answer(one.prompts, one.texts, engine) for one in asked], Usage()
    reasoned = score_queries(queries, engine)
    scores = reasoned.scores
    if len(scores.logprobs) != len(queries):
        raise EngineError(
            f"the judge returned {len(scores.logprobs)} rows for {len(queries)} queries",
            remedy="report this engine bug",
        )
    answers = [
        answers_of(_rows(reasoned, begin, end), one.prompts, len(one.texts))
        for one, begin, end in zip(asked, [0, *ends], ends, strict=False)
    ]
    return answers, scores.usage


def _rows(reasoned: Reasoned, begin: int, end: int) -> Reasoned:
    """A stretch of the rows; what the call cost belongs to no stretch."""
    scores = LabelScores(
        reasoned.scores.logprobs[begin:end],
        _within(reasoned.scores.unjudged, begin, end),
        _within(reasoned.scores.dropped_tokens, begin, end),
        Usage(),
    )
    shortened = frozenset(row - begin for row in reasoned.shortened if begin <= row < end)
    return Reasoned(scores, _within(reasoned.rationales, begin, end), shortened)


def _within(facts: Mapping[int, Fact], begin: int, end: int) -> dict[int, Fact]:
    return {row - begin: fact for row, fact in facts.items() if begin <= row < end}
