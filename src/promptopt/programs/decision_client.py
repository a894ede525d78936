"""The bridge from DSPy's decision protocol to a judge engine.

DSPy's decision types (experimental in 3.4) let a predictor ask a client for measured probabilities instead of text.
This is the one file that depends on that protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
from dspy.experimental import Noul

from promptopt.engines.base import JudgeEngine
from promptopt.errors import PromptoptError
from promptopt.policy.asking import NO_SCORES, answer
from promptopt.policy.grading import distribution
from promptopt.policy.procedure import Answer
from promptopt.policy.verbalizer import own_answer
from promptopt.programs.lowering import Demonstration, lower
from promptopt.programs.prompt_format import PromptFormat

_MEASURED: ContextVar[list[Measured] | None] = ContextVar("measured", default=None)


Evidence = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Measured:
    """What an answer in DSPy's protocol has no place for.

    Attributes:
        answer: Everything that was measured, of a panel the probabilities of all its words.
        dropped_tokens: How many case tokens the judge did not read.
    """

    answer: Answer
    dropped_tokens: int


class NotJudgedError(PromptoptError):
    """The engine gave no scores for a query; the reason is the message."""


@contextmanager
def record_measured() -> Iterator[list[Measured]]:
    """Collects what is measured for the requests made in this context, in order."""
    measured: list[Measured] = []
    token = _MEASURED.set(measured)
    try:
        yield measured
    finally:
        _MEASURED.reset(token)


def evidence_of(answer: Answer, layout: PromptFormat) -> Evidence:
    """An answer in the form of DSPy's protocol.

    Args:
        answer: What was measured.
        layout: Says whether the question is graded.

    Returns:
        ``{"noul": probability of yes}``, of a panel that of its first word against its second; of a graded question,
        the rungs' probabilities by their number from below.
    """
    if layout.panel:
        return {"noul": float(own_answer(np.array([answer]))[0])}
    if not layout.ladder:
        return {"noul": answer}
    (grades,) = distribution(np.array([answer])).tolist()
    return {"probabilities": dict(enumerate(reversed(grades))), "confidence": max(grades)}


def answer_of(decision: Any) -> Answer:
    """The answer that a predictor's decision was made from; the inverse of :func:`evidence_of`, but for panels."""
    if isinstance(decision, Noul):
        return float(decision.probability)
    grades = decision.probabilities
    return tuple(grades[rung] for rung in sorted(grades, reverse=True))


class DecisionClient:
    """Answers a DSPy predictor's decision request by scoring the labels of the lowered prompt.

    DSPy may call it from several threads and copy it along with a program: requests take turns, and every copy is the
    client itself, with the same engine.

    Args:
        engine: The judge.
        layout: Label words, quoting and placement of the program that asks.
    """

    supports_decision_requests = True
    cache = False

    def __init__(self, engine: JudgeEngine, layout: PromptFormat) -> None:
        self._engine = engine
        self._layout = layout
        self._turn = Lock()
        self.model = f"promptopt/{engine.describe().fingerprint}"
        self.callbacks: list[Any] = []
        self.history: list[Any] = []

    def __call__(self, state: Mapping[str, Any], questions: Mapping[str, Any]) -> dict[str, Evidence]:
        """Scores one request.

        Args:
            state: DSPy's request: instructions, inputs (``text`` and ``question``) and demonstrations.
            questions: One entry per output field of the signature.

        Returns:
            Output field to what was measured; see :func:`evidence_of`.

        Raises:
            NotJudgedError: The engine gave no scores.
        """
        inputs = state["inputs"]
        demos = [Demonstration.of(demo, inputs["question"], self._layout.ladder) for demo in state.get("demos", ())]
        prompt = lower("decision", state["instructions"], inputs["question"], demos, self._layout)
        with self._turn:
            answers = answer([prompt], [inputs["text"]], self._engine)
        if np.isnan(answers.probabilities[prompt.question]).any():
            raise NotJudgedError(answers.unjudged.get(0, NO_SCORES))
        said = answers.of_case(0)[prompt.question]
        if (measured := _MEASURED.get()) is not None:
            measured.append(Measured(said, answers.dropped_tokens.get(0, 0)))
        return dict.fromkeys(questions, evidence_of(said, self._layout))

    async def acall(self, state: Mapping[str, Any], questions: Mapping[str, Any]) -> dict[str, Evidence]:
        """As :meth:`__call__`: the engine computes in this process, so there is nothing to wait for."""
        return self(state, questions)

    def __deepcopy__(self, memo: dict[int, Any]) -> DecisionClient:
        return self

    def copy(self, **_settings: Any) -> DecisionClient:
        """The client itself: nothing is sampled, so DSPy's rollout ids and temperatures have nothing to change."""
        return self

    def with_layout(self, layout: PromptFormat) -> DecisionClient:
        """A client of the same engine for a program with another layout."""
        changed = DecisionClient(self._engine, layout)
        changed._turn = self._turn
        return changed

    def dump_state(self) -> dict[str, str]:
        """Names the judge; an engine itself is not saved with a program."""
        return {"model": self.model}
