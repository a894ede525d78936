"""Judging through the score store: only what was never scored before reaches the engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from promptopt.core.case import Case, GoldenCase
from promptopt.core.digest import digest_text
from promptopt.core.prompt import ITEM_SLOT, LoweredPrompt
from promptopt.engines.base import JudgeEngine
from promptopt.policy.asking import NO_SCORES, answer_from, bind, mean_answer, no_answers
from promptopt.policy.reasoning import score_queries
from promptopt.policy.settled import SettledQuery
from promptopt.scores.store import ScoreStore, Spent, StoredScore

FloatArray = npt.NDArray[np.float64]
Pair = tuple[str, str]  # digest of a prompt's judgement, digest of what it reads
Wanted = tuple[LoweredPrompt, str, int]  # prompt, text, sample
QUERIES_PER_CALL = 512


@dataclass(frozen=True, slots=True)
class StoredAnswers:
    """Answers to a program's questions.

    Attributes:
        probabilities: Question name to float64 (cases,), probability of *yes*, or (cases, labels) where a question has
            more than two labels; NaN where unjudged.
        unjudged: Case row to the reason.
        truncated: Case rows that the judge did not read whole.
    """

    probabilities: dict[str, FloatArray]
    unjudged: dict[int, str]
    truncated: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Read:
    """What a question reads of a case; scores are kept under the digest of that, and not of the whole case."""

    text: str
    digest: str
    shortened: bool
    settled: SettledQuery | None

    @classmethod
    def of(cls, prompt: LoweredPrompt, case: Case) -> _Read:
        item = prompt.reading.of(case.item)
        digest = case.digest if item.text == case.text else digest_text(item.text)
        return cls(item.text, digest, bool(item.shortened), SettledQuery.of(item, prompt.labels))


class AnsweringJudge(Protocol):
    """What sweeps ask: a judge that remembers what it was asked, and what that cost."""

    @property
    def spent(self) -> Spent:
        """What has been paid for."""
        ...

    def answers(self, prompts: Sequence[LoweredPrompt], cases: Sequence[GoldenCase]) -> StoredAnswers:
        """The answers to every question about every case."""
        ...


class StoredJudge:
    """An engine behind the score store.

    Args:
        engine: The judge.
        store: Where scores are kept.
        study: Who pays.
        on_call: Called after each engine call with what it cost.
    """

    def __init__(
        self, engine: JudgeEngine, store: ScoreStore, study: str, on_call: Callable[[Spent], None] | None = None
    ) -> None:
        self._engine = engine
        self._store = store
        self._study = study
        self._on_call = on_call
        self._unjudged: dict[Pair, str] = {}
        self.fingerprint = engine.describe().fingerprint

    @property
    def spent(self) -> Spent:
        """What the study has paid for, over all its processes."""
        return self._store.spent(self._study)

    def answers(self, prompts: Sequence[LoweredPrompt], cases: Sequence[Case]) -> StoredAnswers:
        """The answers to every question about every case.

        Args:
            prompts: One per question.
            cases: The cases; those of which a question reads the same text share a score.

        Returns:
            The answers, from the store where it has them and from engine calls for the rest. What the engine would not
            judge it is not asked again in this process; another process may have better luck.

        Raises:
            EngineError: The engine cannot serve a call at all; earlier calls are stored.
        """
        known: dict[Pair, StoredScore] = {}
        read = {prompt.question: [_Read.of(prompt, case) for case in cases] for prompt in prompts}
        for prompt in prompts:
            digests = list(dict.fromkeys(own.digest for own in read[prompt.question]))
            for name in prompt.judgement_digests:
                found = self._store.read(self.fingerprint, name, digests)
                known.update({(name, digest): score for digest, score in found.items()})
        self._score_missing(prompts, read, known)
        probabilities = {p.question: no_answers(p.labels, len(cases)) for p in prompts}
        unjudged: dict[int, str] = {}
        truncated: set[int] = set()
        for prompt in prompts:
            for row, own in enumerate(read[prompt.question]):
                if own.settled is not None:
                    if own.settled.unjudged:
                        unjudged.setdefault(row, own.settled.unjudged)
                    else:
                        probabilities[prompt.question][row] = answer_from(own.settled.logprobs(2), prompt.labels)
                    continue
                pairs = [(name, own.digest) for name in prompt.judgement_digests]
                if missing := [pair for pair in pairs if pair not in known]:
                    unjudged.setdefault(row, self._unjudged.get(missing[0], NO_SCORES))
                    continue
                scores = [known[pair] for pair in pairs]
                samples = [answer_from(score.logprobs, prompt.labels) for score in scores]
                probabilities[prompt.question][row] = mean_answer(samples)
                if own.shortened or any(score.dropped_tokens for score in scores):
                    truncated.add(row)
        return StoredAnswers(probabilities, unjudged, frozenset(truncated))

    def _score_missing(
        self, prompts: Sequence[LoweredPrompt], read: Mapping[str, Sequence[_Read]], known: dict[Pair, StoredScore]
    ) -> None:
        """Scores what is missing, all questions about a case in one call, writes it and adds it to ``known``."""
        missing: dict[Pair, Wanted] = {}
        calls, wanted = [missing], set[Pair]()
        for of_case in zip(*(read[prompt.question] for prompt in prompts), strict=True):
            if len(missing) >= QUERIES_PER_CALL:
                missing = {}
                calls.append(missing)
            for prompt, own in zip(prompts, of_case, strict=True):
                for sample, name in enumerate(prompt.judgement_digests if own.settled is None else ()):
                    pair = (name, own.digest)
                    if pair not in known and pair not in self._unjudged and pair not in wanted:
                        missing[pair] = (prompt, own.text, sample)
                        wanted.add(pair)
        for call in calls:
            if call:
                self._call(call, known)

    def _call(self, asked: Mapping[Pair, Wanted], known: dict[Pair, StoredScore]) -> None:
        queries = [bind(prompt, {ITEM_SLOT: text}, sample) for prompt, text, sample in asked.values()]
        scores = score_queries(queries, self._engine).scores
        fresh: dict[str, dict[str, StoredScore]] = {}
        for row, ((prompt_digest, case_digest), (prompt, _, _)) in enumerate(asked.items()):
            logprobs = scores.logprobs[row, : len(prompt.labels)]
            if row in scores.unjudged or np.isnan(logprobs).any():
                self._unjudged[prompt_digest, case_digest] = scores.unjudged.get(row, NO_SCORES)
                continue
            score = StoredScore(logprobs, scores.dropped_tokens.get(row, 0))
            fresh.setdefault(prompt_digest, {})[case_digest] = known[prompt_digest, case_digest] = score
        usage = scores.usage
        cost = Spent(usage.queries, usage.tokens_computed, usage.tokens_submitted, usage.seconds)
        self._store.write(self.fingerprint, fresh, study=self._study, cost=cost)
        if self._on_call:
            self._on_call(cost)
