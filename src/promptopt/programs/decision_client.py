"""The bridge from DSPy's decision protocol to a judge engine.

DSPy's decision types (experimental in 3.4) let a predictor ask a client for measured probabilities instead of text.
This is the one file that depends on that protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from promptopt.core.prompt import ITEM_SLOT
from promptopt.engines.base import JudgeEngine
from promptopt.errors import PromptoptError
from promptopt.policy.asking import bind
from promptopt.programs.lowering import Demonstration, lower
from promptopt.programs.prompt_format import PromptFormat


class NotJudgedError(PromptoptError):
    """The engine gave no scores for a query; the reason is the message."""


class DecisionClient:
    """Answers a DSPy predictor's decision request by scoring the labels of the lowered prompt.

    Args:
        engine: The judge.
        layout: Label words, quoting and placement of the program that asks.
    """

    supports_decision_requests = True
    cache = False

    def __init__(self, engine: JudgeEngine, layout: PromptFormat) -> None:
        self._engine = engine
        self._layout = layout
        self.model = f"promptopt/{engine.describe().fingerprint}"
        self.callbacks: list[Any] = []
        self.history: list[Any] = []

    def __call__(self, state: Mapping[str, Any], questions: Mapping[str, Any]) -> dict[str, dict[str, float]]:
        """Scores one request.

        Args:
            state: DSPy's request: instructions, inputs (``text`` and ``question``) and demonstrations.
            questions: One entry per output field of the signature.

        Returns:
            Output field to ``{"noul": probability of yes}``.

        Raises:
            NotJudgedError: The engine gave no scores.
        """
        inputs = state["inputs"]
        demos = [
            Demonstration(text=d["text"], question=d["question"], answer=d["answer"]) for d in state.get("demos", ())
        ]
        prompt = lower("decision", state["instructions"], inputs["question"], demos, self._layout)
        scores = self._engine.score([bind(prompt, {ITEM_SLOT: inputs["text"]})])
        if scores.unjudged:
            raise NotJudgedError(scores.unjudged[0])
        probability = min(float(np.exp(scores.logprobs[0, 0])), 1.0)
        return {name: {"noul": probability} for name in questions}

    async def acall(self, state: Mapping[str, Any], questions: Mapping[str, Any]) -> dict[str, dict[str, float]]:
        """As :meth:`__call__`: the engine computes in this process, so there is nothing to wait for."""
        return self(state, questions)

    def copy(self, **kwargs: Any) -> DecisionClient:
        """The same client; it holds no settings that a caller may change."""
        if kwargs:
            raise TypeError(f"a decision client takes no generation settings: {sorted(kwargs)}")
        return DecisionClient(self._engine, self._layout)

    def dump_state(self) -> dict[str, str]:
        """Names the judge; an engine itself is not saved with a program."""
        return {"model": self.model}
