"""Many cases on their way to verdicts: questions are asked of all that wait for them at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from promptopt.core.prompt import ITEM_SLOT, LoweredPrompt
from promptopt.core.verdict import Verdict
from promptopt.engines.base import JudgeEngine
from promptopt.policy.asking import NO_SCORES, answer_from, bind, mean_answer
from promptopt.policy.procedure import Answer
from promptopt.policy.reasoning import score_queries


@dataclass(frozen=True, slots=True)
class Said:
    """What the judge says to one question about one case: the answer, or the reason why there is none."""

    answer: Answer | str
    truncated: bool
    rationales: tuple[str, ...]


class CaseInProgress:
    """One case on its way to a verdict."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.verdict: Verdict | None = None
        self._truncated = False
        self._rationales: tuple[str, ...] = ()

    def hear(self, name: str, said: Said) -> None:
        """Takes the answer to one question; the first question without one settles the case as unjudged."""
        if isinstance(said.answer, str):
            self.verdict = self.verdict or Verdict.unjudged(said.answer)
            return
        self.answers[name] = said.answer
        self._truncated |= said.truncated
        self._rationales += said.rationales

    def outcome(self, rationales: bool) -> Verdict:
        """The verdict, once there is one."""
        if self.verdict is None:
            raise RuntimeError("the case still waits for answers")
        carried = {"rationales": self._rationales} if rationales and self.verdict.is_judged else {}
        return self.verdict.model_copy(update={"truncated": self._truncated and self.verdict.is_judged, **carried})


def ask(asked: Sequence[tuple[LoweredPrompt, str]], engine: JudgeEngine) -> list[Said]:
    """Asks questions about texts in one engine call, after one in which rationales are written, if any."""
    queries = [bind(prompt, {ITEM_SLOT: text}, sample) for prompt, text in asked for sample in range(prompt.samples)]
    reasoned = score_queries(queries, engine)
    scores = reasoned.scores
    said = []
    first = 0
    for prompt, _ in asked:
        rows = range(first, first + prompt.samples)
        first += prompt.samples
        mute = next((row for row in rows if row in scores.unjudged or math.isnan(scores.logprobs[row, 0])), None)
        if mute is None:
            answer: Answer | str = mean_answer([answer_from(scores.logprobs[row], prompt.labels) for row in rows])
        else:
            answer = scores.unjudged.get(mute, NO_SCORES)
        truncated = any(scores.dropped_tokens.get(row, 0) > 0 or row in reasoned.shortened for row in rows)
        written = tuple(reasoned.rationales[row] for row in rows if row in reasoned.rationales)
        said.append(Said(answer, truncated, written))
    return said
