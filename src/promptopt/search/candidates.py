"""From a point of the search space to a candidate, and from a candidate to the program it stands for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from promptopt.core.candidate import Candidate, Choice
from promptopt.core.case import GoldenCase
from promptopt.policy.model import Policy
from promptopt.policy.procedure import Procedure
from promptopt.policy.rendering import render_policy
from promptopt.programs.lowering import Demonstration
from promptopt.programs.program import JudgementProgram
from promptopt.programs.prompt_format import PromptFormat
from promptopt.search.demonstrations import choose_demos
from promptopt.search.space import SearchSpace

_DEMO_DIMENSIONS = ("demo_count", "demo_choice", "demo_order", "demo_draw")


class CandidateMaker:
    """Makes candidates and their programs.

    Args:
        policy: The policy.
        space: The search space.
        pool: Search cases set aside for demonstrations.

    Raises:
        PolicyError: The space has a shape that the policy does not fit.
    """

    def __init__(self, policy: Policy, space: SearchSpace, pool: Sequence[GoldenCase]) -> None:
        self._policy = policy
        self._space = space
        self._pool = {case.id: case for case in pool if len(case.text) <= space.demos.max_chars}
        self._questions = {shape: len(Procedure.of(policy, shape).questions) for shape in space.shapes}

    def candidate(self, point: Mapping[str, Choice], texts: Mapping[str, str] | None = None) -> Candidate:
        """The candidate at a point; points that come to one prompt and one procedure give one candidate."""
        demos = choose_demos(
            tuple(self._pool.values()),
            int(point["demo_count"]),
            point["demo_choice"],  # type: ignore[arg-type]
            point["demo_order"],  # type: ignore[arg-type]
            int(point["demo_draw"]),
        )
        choices = {name: choice for name, choice in point.items() if name not in _DEMO_DIMENSIONS}
        if choices["shape"] != "checklist":
            del choices["aggregate"]
        means: dict[str, Callable[[Any], object]] = {
            "policy": self._rendered,
            "instruction": self._instruction,
            "labels": lambda name: self._words(name, choices),
        }
        for name, meaning in means.items():
            alike = (c for c in self._space.dimensions[name] if meaning(c) == meaning(choices[name]))
            choices[name] = next(alike)
        return Candidate(choices=choices, demos=tuple(case.id for case in demos), texts=dict(texts or {}))

    def questions(self, candidate: Candidate) -> int:
        """How many questions a candidate asks about each case."""
        return self._questions[candidate.choices["shape"]]  # type: ignore[index]

    @property
    def most_questions(self) -> int:
        """How many questions the dearest shape of the space asks about each case."""
        return max(self._questions.values())

    def program(self, candidate: Candidate) -> JudgementProgram:
        """The program that a candidate stands for."""
        choices = candidate.choices
        yes, no = self._words(choices["labels"], choices)
        layout = PromptFormat(yes=yes, no=no, quoting=choices["quoting"], placement=choices["placement"])
        procedure = Procedure.of(
            self._policy,
            choices["shape"],  # type: ignore[arg-type]
            choices.get("aggregate", "routing"),  # type: ignore[arg-type]
        )
        demos = [self._demonstration(self._pool[i], choices["shape"] == "direct") for i in candidate.demos]
        texts = self.texts(candidate)
        system = "\n\n".join(part for part in (texts["instruction"], texts["policy"]) if part)
        return JudgementProgram(self._policy, procedure, layout, system, demos, candidate)

    def texts(self, candidate: Candidate) -> dict[str, str]:
        """The texts of a candidate's components: what was written for it, else what its choices say."""
        choices = candidate.choices
        said = {"instruction": self._instruction(choices["instruction"]), "policy": self._rendered(choices["policy"])}
        return {**said, **candidate.texts}

    def _rendered(self, rendering: Choice) -> str:
        return render_policy(self._policy, rendering)  # type: ignore[arg-type]

    def _instruction(self, name: Choice) -> str:
        return self._space.instructions[str(name)].strip().replace("{title}", self._policy.title)

    def _words(self, name: Choice, choices: Mapping[str, Choice]) -> tuple[str, str]:
        """The pair of answer words that a program of this shape uses."""
        words = self._space.label_words[str(name)]
        return (words.violation, words.allowed) if choices["shape"] == "direct" else (words.applies, words.absent)

    def _demonstration(self, case: GoldenCase, direct: bool) -> Demonstration:
        clause = self._policy.by_id.get(case.clause or "")
        if direct or (case.is_violation and clause is None):
            # A violation without a clause shows nothing about any clause question, so the direct question stands in.
            return Demonstration(text=case.text, question=self._policy.question, answer=case.is_violation)
        if case.is_violation and clause is not None:
            return Demonstration(text=case.text, question=clause.question, answer=True)
        asked = self._policy.violating[sum(case.id.encode()) % len(self._policy.violating)]
        return Demonstration(text=case.text, question=asked.question, answer=False)
