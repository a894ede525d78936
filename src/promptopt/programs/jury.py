"""A jury of judgement programs that share a judge."""

from __future__ import annotations

from collections.abc import Sequence

from promptopt.core.prompt import LoweredPrompt
from promptopt.policy.jury import JuryProcedure, LogOddsScale
from promptopt.programs.program import JudgementProgram


class PromptJury:
    """Programs whose opinions are pooled; it is lowered, scored and exported as one.

    Args:
        members: Two or more programs, the first being the one whose reasons a verdict gives.
        scales: Of their scores, from the search cases.

    Attributes:
        members: The programs.
        procedure: How the answers to all their questions become a verdict.
    """

    def __init__(self, members: Sequence[JudgementProgram], scales: Sequence[LogOddsScale]) -> None:
        self.members = tuple(members)
        self.procedure = JuryProcedure.of([member.procedure for member in members], scales)

    def lower(self) -> tuple[LoweredPrompt, ...]:
        """The members' prompts, under the names that the jury's procedure knows them by.

        A prompt's digest does not depend on its name, so what was scored for a member is not scored again.
        """
        prompts = [prompt for member in self.members for prompt in member.lower()]
        renamed = zip(prompts, self.procedure.questions, strict=True)
        return tuple(prompt.model_copy(update={"question": name}) for prompt, name in renamed)
