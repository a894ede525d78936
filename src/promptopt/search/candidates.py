"""From a point of the search space to a candidate, and from a candidate to the program it stands for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    """

    def __init__(self, policy: Policy, space: SearchSpace, pool: Sequence[GoldenCase]) -> None:
        self._policy = policy
        self._space = space
        self._pool = {case.id: case for case in pool}

    def candidate(self, point: Mapping[str, Choice]) -> Candidate:
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
        return Candidate(choices=choices, demos=tuple(case.id for case in demos))

    def program(self, candidate: Candidate) -> JudgementProgram:
        """The program that a candidate stands for."""
        choices = candidate.choices
        words = self._space.label_words[str(choices["labels"])]
        direct = choices["shape"] == "direct"
        layout = PromptFormat(
            yes=words.yes if direct else words.clause_yes,
            no=words.no if direct else words.clause_no,
            quoting=choices["quoting"],
            placement=choices["placement"],
        )
        procedure = Procedure.of(
            self._policy,
            choices["shape"],  # type: ignore[arg-type]
            choices.get("aggregate", "routing"),  # type: ignore[arg-type]
        )
        instruction = self._space.instructions[str(choices["instruction"])].replace("{title}", self._policy.title)
        rendered = render_policy(self._policy, choices["policy"])  # type: ignore[arg-type]
        demos = [self._demonstration(self._pool[i], direct) for i in candidate.demos]
        system = "\n\n".join(part for part in (instruction.strip(), rendered) if part)
        return JudgementProgram(self._policy, procedure, layout, system, demos, candidate)

    def _demonstration(self, case: GoldenCase, direct: bool) -> Demonstration:
        if direct:
            return Demonstration(text=case.text, question=self._policy.question, answer=case.is_violation)
        clause = case.clause
        if case.is_violation and clause in self._policy.by_id:
            return Demonstration(text=case.text, question=self._policy.by_id[str(clause)].question, answer=True)
        # A violation without a clause shows nothing about any clause question, so the direct question stands in.
        if case.is_violation:
            return Demonstration(text=case.text, question=self._policy.question, answer=True)
        asked = self._policy.violating[sum(case.id.encode()) % len(self._policy.violating)]
        return Demonstration(text=case.text, question=asked.question, answer=False)
