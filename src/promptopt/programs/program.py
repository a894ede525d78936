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
from dspy.experimental import Noul, Score

from promptopt.core.candidate import Candidate
from promptopt.core.case import Case
from promptopt.core.prompt import LoweredPrompt
from promptopt.core.rationale import RationaleSettings
from promptopt.core.verdict import Verdict
from promptopt.engines.base import JudgeEngine
from promptopt.errors import UserError
from promptopt.policy.grading import SEVERITY_QUESTION, ladder_of, severity_question
from promptopt.policy.model import Policy
from promptopt.policy.procedure import DIRECT_QUESTION, Answer, Procedure
from promptopt.policy.verbalizer import PANEL
from promptopt.programs.batch import CaseInProgress, ask
from promptopt.programs.decision_client import DecisionClient, NotJudgedError, answer_of, record_measured
from promptopt.programs.lowering import Demonstration, lower
from promptopt.programs.prompt_format import PromptFormat

DEFAULT_THRESHOLD = 0.5
_OWN_STATE = "judgement"


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

    Attributes:
        ask: Question name to its predictor, whose instructions and demonstrations optimisers may change.
        threshold: Probabilities of violation at or above it are violations.
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
        self.layout = _fitting(layout or PromptFormat(), procedure)
        self.threshold = DEFAULT_THRESHOLD
        self._candidate = candidate
        self.ask = {name: _predictor(instructions, demos, procedure) for name in procedure.questions}

    def candidate(self) -> Candidate | None:
        """The candidate this program was made from."""
        return self._candidate

    def question(self, name: str) -> str:
        """What the predictor of this name asks about a text."""
        if name == SEVERITY_QUESTION:
            return severity_question(self.policy, self.layout.ladder)
        return self.policy.question if name == DIRECT_QUESTION else self.policy.by_id[name].question

    def step(self, answers: Mapping[str, Answer]) -> Ask | Verdict:
        """The next move.

        Args:
            answers: Predictor name to probability of *yes*, or to those of the severities, the severest first, as far
                as known.

        Returns:
            The predictors to ask, or the verdict.
        """
        missing = tuple(name for name in self.procedure.questions if name not in answers)
        if missing:
            return Ask(missing)
        score = self.procedure.score({name: np.array([p]) for name, p in answers.items()})
        return self.procedure.verdict(answers, float(score[0]), self.threshold)

    def lower(self) -> tuple[LoweredPrompt, ...]:
        """The exact prompts this program scores, one per predictor, from the predictors' present state.

        Raises:
            UserError: A predictor holds a demonstration without text or answer.
        """
        prompts = []
        for name, predictor in self.ask.items():
            question = self.question(name)
            demos = [Demonstration.of(demo, question, self.layout.ladder) for demo in predictor.demos]
            prompt = lower(name, predictor.signature.instructions, question, demos, self.layout)
            prompts.append(prompt.model_copy(update={"reading": self.policy.reading(name)}))
        return tuple(prompts)

    def bind_engine(self, engine: JudgeEngine) -> JudgementProgram:
        """Gives every predictor this judge, for :meth:`forward`; returns the program itself."""
        self.set_lm(DecisionClient(engine, self.layout))
        return self

    def forward(self, text: str) -> Any:
        """Judges one text through DSPy.

        Args:
            text: The text, or :attr:`Case.item` of a case with parts.

        Returns:
            A ``dspy.Prediction`` with ``verdict``, ``probability`` (None when unjudged) and ``answers``.
        """
        answers: dict[str, Answer] = {}
        shortened = False
        with record_measured() as measured:
            while isinstance(move := self.step(answers), Ask):
                for name in move.predictors:
                    item = self.policy.reading(name).of(text)
                    if item.is_nothing and name in self.policy.by_id:
                        answers[name] = 0.0
                        continue
                    try:
                        if item.fault is not None:
                            raise NotJudgedError(item.fault)
                        shortened |= bool(item.shortened)
                        answer = self.ask[name](text=item.text, question=self.question(name)).answer
                    except NotJudgedError as cause:
                        verdict = Verdict.unjudged(str(cause))
                        return dspy.Prediction(verdict=verdict, probability=None, answers=answers)
                    answers[name] = measured[-1].answer if self.layout.panel and measured else answer_of(answer)
        truncated = shortened or any(one.dropped_tokens for one in measured)
        verdict = move.model_copy(update={"truncated": truncated})
        return dspy.Prediction(verdict=verdict, probability=verdict.probability, answers=answers)

    def judge(self, cases: Sequence[Case], engine: JudgeEngine, *, rationales: bool = False) -> list[Verdict]:
        """Judges many cases, each question about all cases that wait for it in one call.

        Args:
            cases: The cases.
            engine: The judge.
            rationales: Whether verdicts carry what the judge wrote before it answered, which may quote the case.

        Returns:
            One verdict per case, in order.

        Raises:
            EngineError: The engine cannot serve the batch at all.
        """
        prompts = {prompt.question: prompt for prompt in self.lower()}
        batch = [CaseInProgress() for _ in cases]
        while True:
            asked: list[tuple[int, str]] = []
            for row, judging in enumerate(batch):
                if judging.verdict is None:
                    move = self.step(judging.answers)
                    if isinstance(move, Ask):
                        asked.extend((row, name) for name in move.predictors)
                    else:
                        judging.verdict = move
            if not asked:
                break
            told = ask([(prompts[name], cases[row].item) for row, name in asked], engine)
            for (row, name), said in zip(asked, told, strict=True):
                batch[row].hear(name, said)
        return [judging.outcome(rationales) for judging in batch]

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """The predictors' state and the program's layout and threshold; no judge, which is bound anew after loading."""
        state: dict[str, Any] = super().dump_state(json_mode=json_mode)
        for predictor in state.values():
            predictor["lm"] = None
        state[_OWN_STATE] = {"layout": self.layout.model_dump(), "threshold": self.threshold}
        return state

    def load_state(self, state: Mapping[str, Any], *, allow_unsafe_lm_state: bool = False) -> None:
        """Takes over a saved state; a judge that is bound stays bound.

        Args:
            state: From :meth:`dump_state` of a program with the same questions.
            allow_unsafe_lm_state: As DSPy's.

        Raises:
            UserError: The state is not that of a judgement program.
        """
        own = state.get(_OWN_STATE)
        if own is None:
            raise UserError(
                f"the saved program has no {_OWN_STATE!r} part, which holds layout and threshold",
                remedy="load a file that a judgement program saved",
            )
        layout = _fitting(PromptFormat.model_validate(own["layout"]), self.procedure)
        clients = {name: predictor.lm for name, predictor in self.ask.items()}
        super().load_state(state, allow_unsafe_lm_state=allow_unsafe_lm_state)
        self.layout, self.threshold = layout, float(own["threshold"])
        for name, client in clients.items():
            self.ask[name].lm = client.with_layout(layout) if isinstance(client, DecisionClient) else client


def _fitting(layout: PromptFormat, procedure: Procedure) -> PromptFormat:
    """The layout with what the shape needs: words for the severities that it grades by, a panel, rationales.

    Raises:
        UserError: The layout has words for other severities, or a panel or rationales that the shape does not ask for.
    """
    if procedure.shape == "reasoned" and layout.rationale is None:
        layout = layout.model_copy(update={"rationale": RationaleSettings()})
    if (layout.rationale is not None) != (procedure.shape == "reasoned"):
        raise UserError(
            f"the layout asks for rationales, the {procedure.shape} shape for none",
            remedy="give it the layout of a program of this shape",
        )
    if procedure.shape == "verbalized" and not layout.panel:
        layout = layout.model_copy(update={"panel": PANEL})
    if bool(layout.panel) != (procedure.shape == "verbalized"):
        raise UserError(
            f"the layout has a panel of words, the {procedure.shape} shape reads none",
            remedy="give it the layout of a program of this shape",
        )
    wanted = procedure.severities if procedure.shape == "graded" else ()
    if wanted and not layout.ladder:
        return layout.model_copy(update={"ladder": ladder_of(procedure.clauses)})
    given = tuple(severity for severity, _ in layout.ladder)
    if given != wanted:
        raise UserError(
            f"the layout has words for the severities {list(given)}, the program grades by {list(wanted)}",
            remedy="give it the layout of a program of this shape and policy",
        )
    return layout


def _predictor(instructions: str, demos: Sequence[Demonstration], procedure: Procedure) -> Any:
    rungs = tuple(f"severity {severity}" for severity in procedure.severities)
    decision = Score[rungs] if procedure.shape == "graded" else Noul
    signature = dspy.Signature(
        {
            "text": (str, dspy.InputField(desc="the text to judge")),
            "question": (str, dspy.InputField(desc="the question to answer about it")),
            "answer": (decision, dspy.OutputField(desc="the answer to the question")),
        },
        instructions,
    )
    signature.instructions = instructions  # DSPy puts instructions of its own in the place of blank ones
    predictor = dspy.Predict(signature)
    predictor.demos = [dspy.Example(text=d.text, question=d.question, answer=d.recorded) for d in demos]
    return predictor
