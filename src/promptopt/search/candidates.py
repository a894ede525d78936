"""From a point of the search space to a candidate, and from a candidate to the program it stands for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from promptopt.core.candidate import Candidate, Choice
from promptopt.core.case import GoldenCase
from promptopt.policy.model import Policy
from promptopt.policy.procedure import Procedure
from promptopt.policy.rendering import RenderOptions, lists_clauses, render_policy
from promptopt.programs.lowering import Demonstration
from promptopt.programs.program import JudgementProgram
from promptopt.programs.prompt_format import PromptFormat
from promptopt.search.demonstrations import boundary_cases, choose_demos
from promptopt.search.dimensions import find_dimension
from promptopt.search.dimensions.base import PromptDraft
from promptopt.search.space import DEMO_DIMENSIONS, LISTING, SearchSpace


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
        self._boundary = {case.id: case for case in boundary_cases(policy)}
        self._questions = {shape: len(Procedure.of(policy, shape).questions) for shape in space.shapes}

    def candidate(self, point: Mapping[str, Choice], texts: Mapping[str, str] | None = None) -> Candidate:
        """The candidate at a point; points that come to one prompt and one procedure give one candidate."""
        demos = choose_demos(
            tuple((self._boundary if point["demo_choice"] == "boundary" else self._pool).values()),
            int(point["demo_count"]),
            point["demo_choice"],  # type: ignore[arg-type]
            point["demo_order"],  # type: ignore[arg-type]
            int(point["demo_draw"]),
        )
        active = self._space.active(point) - DEMO_DIMENSIONS
        choices = {name: choice for name, choice in point.items() if name in active}
        if "policy" not in (texts or {}):
            choices = self._first_alike(choices)
        means: dict[str, Callable[[Any], object]] = {
            "instruction": self._instruction,
            "labels": lambda name: self._words(name, choices),
        }
        for name, meaning in means.items():
            alike = (c for c in self._space.dimensions[name] if meaning(c) == meaning(choices[name]))
            choices[name] = next(alike)
        return Candidate(choices=choices, demos=tuple(case.id for case in demos), texts=dict(texts or {}))

    def _first_alike(self, choices: dict[str, Choice]) -> dict[str, Choice]:
        """The choices with the first way of rendering the policy that has the same text."""
        rest = {name: choice for name, choice in choices.items() if name != "policy" and name not in LISTING}
        return {**rest, **self._renderings[self._rendered(choices)]}

    @cached_property
    def _renderings(self) -> dict[str, dict[str, Choice]]:
        """Text of the policy to the first choices that come to it."""
        dimensions = self._space.dimensions
        names = ["policy", *(name for name in LISTING if name in dimensions)]
        found: dict[str, dict[str, Choice]] = {}
        for combination in itertools.product(*(dimensions[name] for name in names)):
            choices = dict(zip(names, combination, strict=True))
            if not lists_clauses(choices["policy"]):  # type: ignore[arg-type]
                choices = {"policy": choices["policy"]}
            found.setdefault(self._rendered(choices), choices)
        return found

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
        texts = self.texts(candidate)
        draft = PromptDraft(texts["instruction"], texts["policy"], layout)
        for name in self._space.extra:
            if name in choices:
                draft = find_dimension(name).change(draft, choices[name])
        procedure = Procedure.of(
            self._policy,
            choices["shape"],  # type: ignore[arg-type]
            choices.get("aggregate", "routing"),  # type: ignore[arg-type]
        )
        shown = {**self._boundary, **self._pool}
        demos = [self._demonstration(shown[i], choices["shape"] == "direct") for i in candidate.demos]
        system = "\n\n".join(part for part in (draft.instruction, draft.policy) if part)
        return JudgementProgram(self._policy, procedure, draft.layout, system, demos, candidate)

    def texts(self, candidate: Candidate) -> dict[str, str]:
        """The texts of a candidate's components: what was written for it, else what its choices say."""
        choices = candidate.choices
        said = {"instruction": self._instruction(choices["instruction"]), "policy": self._rendered(choices)}
        return {**said, **candidate.texts}

    def _rendered(self, choices: Mapping[str, Choice]) -> str:
        listed = {**LISTING, **{name: choices[name] for name in LISTING if name in choices}}
        options = RenderOptions(
            subset=listed["clause_subset"],
            order=listed["clause_order"],
            exceptions=listed["exceptions"],
            severities=bool(listed["severities"]),
        )
        return render_policy(self._policy, choices["policy"], options)  # type: ignore[arg-type]

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
