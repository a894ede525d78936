"""Judgement programs: a policy's decision procedure as a DSPy module.

``step`` is a pure function of the answers so far. One case at a time it is driven by :meth:`JudgementProgram.forward`,
where every answer comes from a DSPy predictor; for many cases it is driven by :meth:`JudgementProgram.judge`, which
asks each question about all the cases that wait for it. Both lower every question to the same prompt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dspy
import numpy as np
from dspy.experimental import Noul

from promptopt.core.candidate import Candidate
from promptopt.core.case import Case
from promptopt.core.prompt import ITEM_SLOT, LoweredPrompt
from promptopt.core.verdict import Verdict
from promptopt.engines.base import JudgeEngine
from promptopt.policy.asking import bind
from promptopt.policy.model import Policy
from promptopt.policy.procedure import DIRECT_QUESTION, Procedure
from promptopt.programs.decision_client import DecisionClient, NotJudgedError
from promptopt.programs.lowering import Demonstration, lower
from promptopt.programs.prompt_format import PromptFormat

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Ask:
    """What a program needs next: the answers of these predictors, in any order."""

    predictors: tuple[str, ...]


class JudgementProgram(dspy.Module):  # type: ignore[misc]
    """A decision procedure whose questions are DSPy predictors declared from a policy.

    Args:
        policy: The policy to judge by.
        procedure: The shape, and how answers become a verdict.
        layout: Label words, quoting and placement.
        instructions: System turn that every predictor starts with.
        demos: Demonstrations that every predictor starts with; shared, so that a checklist shares its prefix.
        candidate: The point of a search space this program stands for, if it came from one.
    """

    def __init__(
        self,
        policy: Policy,
        procedure: Procedure,
        layout: PromptFormat | None = None,
        instructions: str = "",
        demos: Sequence[Demonstration] = (),
        candidate: Candidate | None = None,
    ) -> None:
        super().__init__()
        self.policy = policy
        self.procedure = procedure
        self.layout = layout or PromptFormat()
        self.threshold = DEFAULT_THRESHOLD
        self._candidate = candidate
        self.predictors = {name: _predictor(instructions, demos) for name in procedure.questions}

    def candidate(self) -> Candidate | None:
        """The candidate this program was made from."""
        return self._candidate

    def question(self, name: str) -> str:
        """What the predictor of this name asks about a text."""
        return self.policy.question if name == DIRECT_QUESTION else self.policy.by_id[name].question

    def step(self, answers: Mapping[str, float]) -> Ask | Verdict:
        """The next move.

        Args:
            answers: Predictor name to probability of *yes*, as far as known.

        Returns:
            The predictors to ask, or the verdict.
        """
        missing = tuple(name for name in self.procedure.questions if name not in answers)
        if missing:
            return Ask(missing)
        score = self.procedure.score({name: np.array([p]) for name, p in answers.items()})
        return self.procedure.verdict(answers, float(score[0]), self.threshold)

    def lower(self) -> tuple[LoweredPrompt, ...]:
        """The exact prompts this program scores, one per predictor, from the predictors' present state."""
        prompts = []
        for name, predictor in self.predictors.items():
            demos = [
                Demonstration(text=d["text"], question=d["question"], answer=bool(d["answer"])) for d in predictor.demos
            ]
            prompts.append(lower(name, predictor.signature.instructions, self.question(name), demos, self.layout))
        return tuple(prompts)

    def bind_engine(self, engine: JudgeEngine) -> JudgementProgram:
        """Gives every predictor this judge, for :meth:`forward`; returns the program itself."""
        self.set_lm(DecisionClient(engine, self.layout))
        return self

    def forward(self, text: str) -> Any:
        """Judges one text through DSPy.

        Args:
            text: The text.

        Returns:
            A ``dspy.Prediction`` with ``verdict``, ``probability`` (None when unjudged) and ``answers``.
        """
        answers: dict[str, float] = {}
        while isinstance(move := self.step(answers), Ask):
            for name in move.predictors:
                try:
                    answer = self.predictors[name](text=text, question=self.question(name)).answer
                except NotJudgedError as cause:
                    verdict = Verdict.unjudged(str(cause))
                    return dspy.Prediction(verdict=verdict, probability=None, answers=answers)
                answers[name] = answer.probability
        return dspy.Prediction(verdict=move, probability=move.probability, answers=answers)

    def judge(self, cases: Sequence[Case], engine: JudgeEngine) -> list[Verdict]:
        """Judges many cases, each question about all cases that wait for it in one call.

        Args:
            cases: The cases.
            engine: The judge.

        Returns:
            One verdict per case, in order.
        """
        prompts = {prompt.question: prompt for prompt in self.lower()}
        answers: list[dict[str, float]] = [{} for _ in cases]
        verdicts: list[Verdict | None] = [None] * len(cases)
        while waiting := [i for i, verdict in enumerate(verdicts) if verdict is None]:
            asked: list[tuple[int, str]] = []
            for i in waiting:
                move = self.step(answers[i])
                if isinstance(move, Verdict):
                    verdicts[i] = move
                else:
                    asked.extend((i, name) for name in move.predictors)
            scores = engine.score([bind(prompts[name], {ITEM_SLOT: cases[i].text}) for i, name in asked])
            for row, (i, name) in enumerate(asked):
                if row in scores.unjudged:
                    verdicts[i] = Verdict.unjudged(scores.unjudged[row])
                answers[i][name] = min(float(np.exp(scores.logprobs[row, 0])), 1.0)
        return [verdict for verdict in verdicts if verdict is not None]


def _predictor(instructions: str, demos: Sequence[Demonstration]) -> Any:
    signature = dspy.Signature(
        {
            "text": (str, dspy.InputField(desc="the text to judge")),
            "question": (str, dspy.InputField(desc="the question to answer about it")),
            "answer": (Noul, dspy.OutputField(desc="the answer to the question")),
        },
        instructions,
    )
    predictor = dspy.Predict(signature)
    predictor.demos = [dspy.Example(text=d.text, question=d.question, answer=d.answer) for d in demos]
    return predictor
