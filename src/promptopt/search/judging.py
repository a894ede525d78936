"""Judging through the score store: only what was never scored before reaches the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from promptopt.core.case import Case
from promptopt.core.prompt import ITEM_SLOT, LoweredPrompt
from promptopt.engines.base import JudgeEngine, LabelQuery
from promptopt.policy.asking import bind
from promptopt.scores.store import ScoreStore, Spent, StoredScore

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StoredAnswers:
    """Answers to a program's questions.

    Attributes:
        probabilities: Question name to float64 (cases,): probability of *yes*, NaN where unjudged.
        unjudged: Case row to the reason.
        truncated: Case rows that the judge did not read whole.
    """

    probabilities: dict[str, FloatArray]
    unjudged: dict[int, str]
    truncated: frozenset[int]


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
        self.fingerprint = engine.describe().fingerprint

    @property
    def spent(self) -> Spent:
        """What the study has paid for, over all its processes."""
        return self._store.spent(self._study)

    def answers(self, prompts: Sequence[LoweredPrompt], cases: Sequence[Case]) -> StoredAnswers:
        """Probabilities of *yes* for every question and case.

        Args:
            prompts: One per question.
            cases: The cases; cases with one text share a score.

        Returns:
            The answers, from the store where it has them and from one engine call for the rest.
        """
        digests = [case.digest for case in cases]
        known = {p.question: self._store.read(self.fingerprint, p.digest, digests) for p in prompts}
        reasons = self._score_missing(prompts, cases, known)
        probabilities = {p.question: np.full(len(cases), np.nan) for p in prompts}
        unjudged: dict[int, str] = {}
        truncated: set[int] = set()
        for prompt in prompts:
            for row, digest in enumerate(digests):
                score = known[prompt.question].get(digest)
                if score is None:
                    unjudged.setdefault(row, reasons.get((prompt.question, digest), "the judge returned no scores"))
                    continue
                probabilities[prompt.question][row] = min(float(np.exp(score.logprobs[0])), 1.0)
                if score.dropped_tokens:
                    truncated.add(row)
        return StoredAnswers(probabilities, unjudged, frozenset(truncated))

    def _score_missing(
        self, prompts: Sequence[LoweredPrompt], cases: Sequence[Case], known: dict[str, dict[str, StoredScore]]
    ) -> dict[tuple[str, str], str]:
        """Scores what is missing, writes it, adds it to ``known``; returns why pairs are unjudged."""
        asked: list[tuple[LoweredPrompt, str]] = []
        queries: list[LabelQuery] = []
        for digest, case in {case.digest: case for case in cases}.items():
            for prompt in prompts:
                if digest not in known[prompt.question]:
                    asked.append((prompt, digest))
                    queries.append(bind(prompt, {ITEM_SLOT: case.text}))
        if not queries:
            return {}
        scores = self._engine.score(queries)
        fresh: dict[str, dict[str, StoredScore]] = {p.digest: {} for p in prompts}
        reasons: dict[tuple[str, str], str] = {}
        for row, (prompt, digest) in enumerate(asked):
            if row in scores.unjudged:
                reasons[prompt.question, digest] = scores.unjudged[row]
                continue
            logprobs = scores.logprobs[row, : len(prompt.labels)]
            score = StoredScore(logprobs, scores.dropped_tokens.get(row, 0))
            fresh[prompt.digest][digest] = known[prompt.question][digest] = score
        usage = scores.usage
        cost = Spent(usage.queries, usage.tokens_computed, usage.tokens_submitted, usage.seconds)
        self._store.write(self.fingerprint, fresh, study=self._study, cost=cost)
        if self._on_call:
            self._on_call(cost)
        return reasons
