"""The contract of a search method, and the meter that all methods pay through.

``promptopt bench search`` calls :meth:`SearchMethod.search` once per task and seed. A method sees the search cases and
nothing else of the golden set, asks the judge through the task's meter only, and returns a program; thresholds are
fitted for it afterwards, for every method alike.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from promptopt.core.case import GoldenCase
from promptopt.core.prompt import ITEM_SLOT, LoweredPrompt
from promptopt.engines.base import Generation, GenerationRequest, JudgeEngine
from promptopt.metrics.arrays import FloatArray
from promptopt.policy.asking import bind
from promptopt.policy.jury import JuryProcedure
from promptopt.policy.model import Policy
from promptopt.policy.procedure import Procedure
from promptopt.policy.reasoning import count_queries
from promptopt.programs.program import JudgementProgram
from promptopt.search.candidates import CandidateMaker
from promptopt.search.judging import StoredAnswers, StoredJudge
from promptopt.search.space import SearchSpace
from promptopt.search.weighing import scores_to_compare


class BudgetSpentError(Exception):
    """The next call would cost more than is left; a method then returns the best that it has."""


class Meter:
    """Counts what a method asks for: every distinct (prompt, case) pair once, whether or not another method or seed
    has paid for the score already, so that a shared score store favours nobody.

    Args:
        judge: The judge behind the score store.
        engine: The same judge, for writing texts and counting tokens.
        judgements: Judgements allowed.

    Attributes:
        engine: The judge's engine; what is asked of it directly is not metered.
        spent: Judgements asked for.
        tokens: Tokens of those judgements that are not shared with the prompt, plus each prompt's own once, plus what
            was written.
        generations: Texts written.
        counting_seconds: Time that counting the tokens took, which is the meter's and not the method's.
    """

    def __init__(self, judge: StoredJudge, engine: JudgeEngine, judgements: int) -> None:
        self._judge = judge
        self.engine = engine
        self._allowed = judgements
        self._known: set[tuple[str, str]] = set()
        self.spent = 0
        self.tokens = 0
        self.generations = 0
        self.counting_seconds = 0.0

    @property
    def left(self) -> int:
        """Judgements that may still be asked for."""
        return self._allowed - self.spent

    def price(self, prompts: Sequence[LoweredPrompt], cases: Sequence[GoldenCase]) -> int:
        """Judgements that these scores would cost."""
        return len(_judgements(prompts, cases) - self._known)

    def scores(
        self, prompts: Sequence[LoweredPrompt], procedure: Procedure | JuryProcedure, cases: Sequence[GoldenCase]
    ) -> FloatArray:
        """Probabilities of violation, (cases,); NaN where unjudged.

        Raises:
            BudgetSpentError: They cost more than is left; nothing was asked.
        """
        return procedure.score(self.answers(prompts, cases).probabilities)

    def scores_to_compare(self, program: JudgementProgram, cases: Sequence[GoldenCase]) -> FloatArray:
        """As :meth:`scores`, where weights that a program still lacks are fitted on the other cases.

        Raises:
            BudgetSpentError: They cost more than is left; nothing was asked.
        """
        answers = self.answers(program.lower(), cases)
        return scores_to_compare(program.procedure, answers.probabilities, cases)

    def answers(self, prompts: Sequence[LoweredPrompt], cases: Sequence[GoldenCase]) -> StoredAnswers:
        """The answers to every question about every case.

        Raises:
            BudgetSpentError: They cost more than is left; nothing was asked.
        """
        fresh = _judgements(prompts, cases) - self._known
        if len(fresh) > self.left:
            raise BudgetSpentError(f"{len(fresh)} judgements wanted, {self.left} left")
        answers = self._judge.answers(prompts, cases)
        self._known |= fresh
        self.spent += len(fresh)
        began = time.perf_counter()
        self.tokens += self._tokens(prompts, cases, fresh)
        self.counting_seconds += time.perf_counter() - began
        return answers

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        """Has the judge's own model write texts, which costs tokens and no judgement."""
        written = self.engine.generate(requests)
        self.generations += len(written)
        self.tokens += sum(one.tokens for one in written)
        return written

    def _tokens(
        self, prompts: Sequence[LoweredPrompt], cases: Sequence[GoldenCase], fresh: set[tuple[str, str]]
    ) -> int:
        if not fresh:
            return 0
        by_digest = {case.digest: case for case in cases}
        queries = [
            bind(prompt, {ITEM_SLOT: by_digest[digest].item}, sample)
            for prompt in prompts
            for sample, name in enumerate(prompt.judgement_digests)
            for digest in by_digest
            if (name, digest) in fresh
        ]
        count = count_queries(queries, self.engine)
        return count.prefix + count.marginal


def _judgements(prompts: Sequence[LoweredPrompt], cases: Sequence[GoldenCase]) -> set[tuple[str, str]]:
    return {(name, case.digest) for prompt in prompts for name in prompt.judgement_digests for case in cases}


@dataclass(frozen=True, slots=True)
class SearchTask:
    """What to search on.

    Attributes:
        policy: The policy.
        space: The search space, whose seed point is every method's starting prompt.
        maker: Makes candidates and programs from points of the space.
        pool: Cases for demonstrations, on which nobody is scored.
        cases: Search cases that candidates are scored on.
        meter: The judge, metered.
        seed: Of the method's draws.
    """

    policy: Policy
    space: SearchSpace
    maker: CandidateMaker
    pool: tuple[GoldenCase, ...]
    cases: tuple[GoldenCase, ...]
    meter: Meter
    seed: int

    def seed_program(self) -> JudgementProgram:
        """The prompt that every method starts from."""
        return self.maker.program(self.maker.candidate(self.space.seed_point()))


class FoundProgram(Protocol):
    """What a search finds: a judgement program, or a jury of them."""

    @property
    def procedure(self) -> Procedure | JuryProcedure:
        """How the answers become a verdict."""
        ...

    def lower(self) -> tuple[LoweredPrompt, ...]:
        """The prompts, one per question of the procedure."""
        ...


class SearchMethod(Protocol):
    """A way of finding a prompt within a budget."""

    name: str

    def search(self, task: SearchTask) -> FoundProgram:
        """Searches until the task's meter is spent.

        Returns:
            The program that the method would deploy, chosen on the task's search cases alone.
        """
        ...
