"""Asks the questions of a procedure: lowered prompts and case texts become queries, and scores become answers.

Programs ask this way while they search and bundles ask this way in production, so both submit the same queries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from promptopt.core.prompt import ITEM_SLOT, LoweredPrompt
from promptopt.engines.base import JudgeEngine, LabelQuery, LabelScores, Segment, Usage
from promptopt.errors import EngineError
from promptopt.policy.procedure import FloatArray

NO_SCORES = "the judge returned no scores"


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to every question about a batch of cases.

    Attributes:
        probabilities: Question name to the probability of its affirmative (first) label, float64 of shape (cases,);
            NaN where the judge gave no answer.
        unjudged: Case row to the first reason why one of its questions has no answer.
        dropped_tokens: Case row to the most case tokens left out of any of its queries.
        usage: What the engine call cost.
    """

    probabilities: Mapping[str, FloatArray]
    unjudged: Mapping[int, str] = field(default_factory=dict)
    dropped_tokens: Mapping[int, int] = field(default_factory=dict)
    usage: Usage = field(default_factory=Usage)

    def of_case(self, row: int) -> dict[str, float]:
        """Question name to the probability of its affirmative label, for one case."""
        return {question: float(column[row]) for question, column in self.probabilities.items()}


class _Binder:
    """Turns prompts and texts into queries in which equal segments are one object.

    A batch thus holds a long policy text once, and comparing two of its prefixes costs next to nothing.
    """

    def __init__(self) -> None:
        self._fixed: dict[tuple[str, str], Segment] = {}

    def query(
        self, prompt: LoweredPrompt, texts: Mapping[str, str], items: dict[tuple[str, str], Segment]
    ) -> LabelQuery:
        segments = []
        for part in prompt.segments:
            if part.slot is None:
                key = (part.role, part.text)
                segments.append(self._fixed.setdefault(key, Segment(part.role, part.text)))
            else:
                key = (part.role, part.slot)
                segments.append(items.setdefault(key, Segment(part.role, texts[part.slot], from_case=True)))
        return LabelQuery(segments=tuple(segments), labels=prompt.labels)


def bind(prompt: LoweredPrompt, texts: Mapping[str, str]) -> LabelQuery:
    """Fills the slots of a lowered prompt.

    Args:
        prompt: The question.
        texts: Slot name to the part of the case that goes there; always marked as untrusted case text.

    Returns:
        The query, with one segment per segment of the prompt.

    Raises:
        KeyError: A slot of the prompt has no text.
    """
    return _Binder().query(prompt, texts, {})


def queries_for(prompts: Sequence[LoweredPrompt], texts: Sequence[str]) -> list[LabelQuery]:
    """Every question about every case, case by case: row ``case * len(prompts) + question``.

    Args:
        prompts: The questions; their only slot is the case's text.
        texts: The cases.

    Returns:
        Queries that share equal fixed segments, and each case's text, by identity.

    Raises:
        KeyError: A prompt has a slot other than the case's text.
    """
    binder = _Binder()
    queries: list[LabelQuery] = []
    for text in texts:
        items: dict[tuple[str, str], Segment] = {}
        queries.extend(binder.query(prompt, {ITEM_SLOT: text}, items) for prompt in prompts)
    return queries


def answer(prompts: Sequence[LoweredPrompt], texts: Sequence[str], engine: JudgeEngine) -> Answers:
    """Asks every question about every case in one engine call.

    Args:
        prompts: The questions, with distinct names and no slot but the case's text.
        texts: The cases.
        engine: The judge.

    Returns:
        Probabilities of the affirmative labels; an unjudged row is NaN and has a reason.

    Raises:
        EngineError: The engine cannot serve the batch, or returned another number of rows than it was asked for.
        ValueError: Two prompts have one name.
    """
    questions = [prompt.question for prompt in prompts]
    if len(set(questions)) < len(questions):
        raise ValueError(f"question names must be distinct: {questions}")
    if not texts or not prompts:
        return Answers({question: np.empty(len(texts), dtype=np.float64) for question in questions})
    return answers_of(engine.score(queries_for(prompts, texts)), questions, len(texts))


def answers_of(scores: LabelScores, questions: Sequence[str], cases: int) -> Answers:
    """Reads the scores of :func:`queries_for`.

    Args:
        scores: One row per query.
        questions: Names of the prompts, in order.
        cases: How many cases were asked about.

    Returns:
        The answers, case by case.

    Raises:
        EngineError: The rows are not as many as the queries.
    """
    affirmative = _affirmative(scores, cases * len(questions)).reshape(cases, len(questions))
    return Answers(
        probabilities={question: affirmative[:, i].copy() for i, question in enumerate(questions)},
        unjudged=_reasons(scores, affirmative, questions),
        dropped_tokens=_dropped(scores, len(questions)),
        usage=scores.usage,
    )


def _affirmative(scores: LabelScores, rows: int) -> FloatArray:
    if scores.logprobs.shape[0] != rows:
        raise EngineError(
            f"the judge returned {scores.logprobs.shape[0]} rows for {rows} queries", remedy="report this engine bug"
        )
    probabilities = np.minimum(np.exp(scores.logprobs[:, 0].astype(np.float64)), 1.0)
    probabilities[list(scores.unjudged)] = np.nan
    return probabilities


def _reasons(scores: LabelScores, affirmative: FloatArray, questions: Sequence[str]) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for row in np.flatnonzero(np.isnan(affirmative.ravel())):
        case, question = divmod(int(row), len(questions))
        reason = scores.unjudged.get(int(row), NO_SCORES)
        reasons.setdefault(case, reason if len(questions) == 1 else f"{questions[question]}: {reason}")
    return reasons


def _dropped(scores: LabelScores, questions: int) -> dict[int, int]:
    dropped: dict[int, int] = {}
    for row, tokens in scores.dropped_tokens.items():
        case = row // questions
        dropped[case] = max(tokens, dropped.get(case, 0))
    return {case: tokens for case, tokens in dropped.items() if tokens > 0}
