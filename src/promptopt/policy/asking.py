"""Asks the questions of a procedure: lowered prompts and case texts become queries, and scores become answers.

Programs ask this way while they search and bundles ask this way in production, so both submit the same queries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from promptopt.core.prompt import ITEM_SLOT, LoweredPrompt, PromptSegment
from promptopt.core.rationale import RATIONALE_SLOT
from promptopt.engines.base import JudgeEngine, LabelQuery, LabelScores, Segment, Usage
from promptopt.errors import EngineError
from promptopt.policy.procedure import Answer, FloatArray
from promptopt.policy.reasoning import Query, Reasoned, ReasonedQuery, WholeQuery, score_queries
from promptopt.policy.settled import SettledQuery, ShortenedQuery

NO_SCORES = "the judge returned no scores"


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers to every question about a batch of cases.

    Attributes:
        probabilities: Question name to the probability of its affirmative (first) label, float64 of shape (cases,), or
            of all its labels where it has more than two, (cases, labels); NaN where the judge gave no answer.
        unjudged: Case row to the first reason why one of its questions has no answer.
        dropped_tokens: Case row to the most case tokens left out of any of its queries.
        rationales: Case row to what was written about it, question by question; it may quote the case.
        shortened: Rows of cases of which a part was shortened for a question.
        usage: What the engine call cost.
    """

    probabilities: Mapping[str, FloatArray]
    unjudged: Mapping[int, str] = field(default_factory=dict)
    dropped_tokens: Mapping[int, int] = field(default_factory=dict)
    rationales: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    shortened: frozenset[int] = frozenset()
    usage: Usage = field(default_factory=Usage)

    def of_case(self, row: int) -> dict[str, Answer]:
        """Question name to its answer, for one case."""
        return answers_of_case(self.probabilities, row)


def answers_of_case(probabilities: Mapping[str, FloatArray], row: int) -> dict[str, Answer]:
    """One case's answers out of those of many; see :attr:`Answers.probabilities`."""
    return {
        question: float(answers[row]) if answers.ndim == 1 else tuple(answers[row].tolist())
        for question, answers in probabilities.items()
    }


def answer_from(logprobs: Iterable[float], labels: Sequence[str]) -> Answer:
    """The answer that the log-probabilities of a question's labels are."""
    probabilities = tuple(min(math.exp(logprob), 1.0) for logprob, _ in zip(logprobs, labels, strict=False))
    return probabilities[0] if len(labels) == 2 else probabilities


def no_answers(labels: Sequence[str], cases: int) -> FloatArray:
    """NaN in the shape that the answers to a question have."""
    return np.full(cases if len(labels) == 2 else (cases, len(labels)), np.nan)


class _Binder:
    """Turns prompts and texts into queries in which equal segments are one object.

    A batch thus holds a long policy text once, and comparing two of its prefixes costs next to nothing.
    """

    def __init__(self) -> None:
        self._fixed: dict[tuple[str, str], Segment] = {}

    def query(
        self, prompt: LoweredPrompt, texts: Mapping[str, str], items: dict[tuple[str, str], Segment], sample: int = 0
    ) -> Query:
        if ITEM_SLOT not in texts:
            return self._whole(prompt, texts, items, sample)
        item = prompt.reading.of(texts[ITEM_SLOT])
        if settled := SettledQuery.of(item, prompt.labels):
            return settled
        query = self._whole(prompt, {**texts, ITEM_SLOT: item.text}, items, sample)
        return ShortenedQuery(query) if item.shortened else query

    def _whole(
        self, prompt: LoweredPrompt, texts: Mapping[str, str], items: dict[tuple[str, str], Segment], sample: int
    ) -> WholeQuery:
        if prompt.rationale is None:
            return LabelQuery(segments=self._segments(prompt.segments, texts, items), labels=prompt.labels)
        place = next(i for i, part in enumerate(prompt.segments) if part.slot == RATIONALE_SLOT)
        return ReasonedQuery(
            request=self._segments(prompt.rationale.segments, texts, items),
            before=self._segments(prompt.segments[:place], texts, items),
            after=self._segments(prompt.segments[place + 1 :], texts, items),
            role=prompt.segments[place].role,
            labels=prompt.labels,
            settings=prompt.rationale,
            sample=sample,
        )

    def _segments(
        self, parts: Sequence[PromptSegment], texts: Mapping[str, str], items: dict[tuple[str, str], Segment]
    ) -> tuple[Segment, ...]:
        segments = []
        for part in parts:
            if part.slot is None:
                key = (part.role, part.text)
                segments.append(self._fixed.setdefault(key, Segment(part.role, part.text)))
            else:
                key = (part.role, texts[part.slot])
                segments.append(items.setdefault(key, Segment(part.role, texts[part.slot], from_case=True)))
        return tuple(segments)


def bind(prompt: LoweredPrompt, texts: Mapping[str, str], sample: int = 0) -> Query:
    """Fills the slots of a lowered prompt.

    Args:
        prompt: The question.
        texts: Slot name to the part of the case that goes there; always marked as untrusted case text.
        sample: Which of the prompt's rationales the query waits for, if it waits for one.

    Returns:
        The query, with one segment per segment of the prompt, or with a gap for a rationale; or one that is settled,
        where what the prompt reads of the case is not there or cannot be read.

    Raises:
        KeyError: A slot of the prompt has no text.
    """
    return _Binder().query(prompt, texts, {}, sample)


def queries_for(prompts: Sequence[LoweredPrompt], texts: Sequence[str]) -> list[Query]:
    """Every question about every case, case by case, with as many rows as a question has judgements.

    Args:
        prompts: The questions; their only slot is the case's text.
        texts: The cases; of one with parts (:class:`PartedText`), each question gets the parts that it reads.

    Returns:
        Queries that share equal fixed segments, and each case's text, by identity.

    Raises:
        KeyError: A prompt has a slot other than the case's text.
    """
    binder = _Binder()
    queries: list[Query] = []
    for text in texts:
        items: dict[tuple[str, str], Segment] = {}
        for prompt in prompts:
            queries.extend(binder.query(prompt, {ITEM_SLOT: text}, items, sample) for sample in range(prompt.samples))
    return queries


def answer(prompts: Sequence[LoweredPrompt], texts: Sequence[str], engine: JudgeEngine) -> Answers:
    """Asks every question about every case in one engine call, after one in which rationales are written, if any.

    Args:
        prompts: The questions, with distinct names and no slot but the case's text.
        texts: The cases.
        engine: The judge.

    Returns:
        Probabilities of the labels; an unjudged row is NaN and has a reason.

    Raises:
        EngineError: The engine cannot serve the batch, or returned another number of rows than it was asked for.
        ValueError: Two prompts have one name.
    """
    questions = [prompt.question for prompt in prompts]
    if len(set(questions)) < len(questions):
        raise ValueError(f"question names must be distinct: {questions}")
    if not texts or not prompts:
        return Answers({prompt.question: no_answers(prompt.labels, len(texts)) for prompt in prompts})
    return answers_of(score_queries(queries_for(prompts, texts), engine), prompts, len(texts))


def answers_of(reasoned: Reasoned, prompts: Sequence[LoweredPrompt], cases: int) -> Answers:
    """Reads the scores of :func:`queries_for`.

    Args:
        reasoned: One row per query.
        prompts: The prompts, in order.
        cases: How many cases were asked about.

    Returns:
        The answers, case by case.

    Raises:
        EngineError: The rows are not as many as the queries.
    """
    scores, asked = reasoned.scores, [prompt for prompt in prompts for _ in range(prompt.samples)]
    rows, width = cases * len(asked), len(asked)
    if scores.logprobs.shape[0] != rows:
        raise EngineError(
            f"the judge returned {scores.logprobs.shape[0]} rows for {rows} queries", remedy="report this engine bug"
        )
    probabilities: dict[str, FloatArray] = {}
    by_label = [_column(scores, label) for label in range(max(len(prompt.labels) for prompt in prompts))]
    first = 0
    for prompt in prompts:
        samples = [range(first + sample, rows, width) for sample in range(prompt.samples)]
        columns = [pooled([column[own] for own in samples]) for column in by_label[: len(prompt.labels)]]
        probabilities[prompt.question] = columns[0] if len(columns) == 2 else np.stack(columns, axis=1)
        first += prompt.samples
    return Answers(
        probabilities=probabilities,
        unjudged=_reasons(scores, by_label[0], [prompt.question for prompt in asked]),
        dropped_tokens=_dropped(scores, width),
        rationales=_by_case(reasoned.rationales, width),
        shortened=frozenset(row // width for row in reasoned.shortened),
        usage=scores.usage,
    )


def pooled(samples: Sequence[FloatArray]) -> FloatArray:
    """The mean of what one question was answered after several rationales, an array of any shape each.

    Probabilities are averaged as they are, and not their log-odds: over all rationales that the judge might write, the
    probability of a label is the expectation of its probability given the rationale, which their mean estimates without
    bias (the sampling that self-consistency rests on: Wang et al. 2022, arXiv 2203.11171).
    """
    total = samples[0]
    for sample in samples[1:]:
        total = total + sample
    return total / len(samples)


def mean_answer(samples: Sequence[Answer]) -> Answer:
    """As :func:`pooled`, of one case's answers."""
    if len(samples) == 1:
        return samples[0]
    mean = pooled([np.asarray(sample, dtype=np.float64) for sample in samples])
    return tuple(mean.tolist()) if mean.ndim else float(mean)


def _by_case(rationales: Mapping[int, str], width: int) -> dict[int, tuple[str, ...]]:
    by_case: dict[int, tuple[str, ...]] = {}
    for row in sorted(rationales):
        by_case[row // width] = (*by_case.get(row // width, ()), rationales[row])
    return by_case


def _column(scores: LabelScores, label: int) -> FloatArray:
    """Probability of each query's label of this number; NaN where unjudged."""
    probabilities = np.minimum(np.exp(scores.logprobs[:, label].astype(np.float64)), 1.0)
    probabilities[list(scores.unjudged)] = np.nan
    return probabilities


def _reasons(scores: LabelScores, affirmative: FloatArray, questions: Sequence[str]) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for row in np.flatnonzero(np.isnan(affirmative)):
        case, question = divmod(int(row), len(questions))
        reason = scores.unjudged.get(int(row), NO_SCORES)
        reasons.setdefault(case, reason if len(set(questions)) == 1 else f"{questions[question]}: {reason}")
    return reasons


def _dropped(scores: LabelScores, questions: int) -> dict[int, int]:
    dropped: dict[int, int] = {}
    for row, tokens in scores.dropped_tokens.items():
        case = row // questions
        dropped[case] = max(tokens, dropped.get(case, 0))
    return {case: tokens for case, tokens in dropped.items() if tokens > 0}
