"""CAPO (Zehle et al., 2025, arXiv 2504.16005), written anew from the paper for closed-label judges.

Instructions and demonstrations evolve: a language model crosses and rewrites instructions, demonstrations are added,
dropped and shuffled, and candidates race over blocks of cases, dropped by paired t-tests. Where the paper counts right
answers, this counts ``1 - |gold - probability|``, which sees how a judge ranks; its penalty on length is kept.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from promptopt.core.candidate import Candidate
from promptopt.core.case import GoldenCase
from promptopt.engines.base import GenerationRequest, Segment
from promptopt.metrics.arrays import FloatArray
from promptopt.programs.program import JudgementProgram
from promptopt.search.baselines.base import BudgetSpentError, SearchTask
from promptopt.search.candidates import can_be_shown

_POPULATION, _CHILDREN = 6, 4
_BLOCK, _MOST_BLOCKS = 30, 10
_ALPHA, _LENGTH_PENALTY = 0.2, 0.05
_MOST_DEMONSTRATIONS = 5
_IDLE = 10  # generations in a row that cost nothing
_TOKENS, _MOST_CHARACTERS = 64, 600
_CROSS = (
    "Two instructions for the same task follow. Write one new instruction that joins the best of both. Answer with the "
    "instruction only.\n\nFirst: {first}\n\nSecond: {second}"
)
_REWRITE = "Write this instruction anew in other words, clearer and more exact. Answer with it only.\n\n{first}"


@dataclass
class _Member:
    """A candidate with its scores so far, block by block."""

    instruction: str
    demos: tuple[str, ...]
    scores: list[FloatArray] = field(default_factory=list)
    characters: int = 0

    def mean(self, longest: int) -> float:
        """Average score less the penalty for a long prompt."""
        return float(np.mean(np.concatenate(self.scores))) - _LENGTH_PENALTY * self.characters / longest


class Capo:
    """Cost-aware prompt optimisation by evolution and racing."""

    name = "capo"

    def search(self, task: SearchTask) -> JudgementProgram:
        """The member of the last population with the highest mean, penalised for length."""
        run = _Run(task)
        with suppress(BudgetSpentError):  # the budget is the stopping rule
            run.evolve()
        return run.best()


class _Run:
    def __init__(self, task: SearchTask) -> None:
        self._task = task
        self._draw = random.Random(f"capo|{task.seed}")  # noqa: S311 (a reproducible draw, not a secret)
        cases = list(task.cases)
        self._draw.shuffle(cases)
        self._blocks = [cases[i : i + _BLOCK] for i in range(0, len(cases), _BLOCK)][:_MOST_BLOCKS]
        self._pool = [case.id for case in task.pool if can_be_shown(case, task.space)]
        self._written = 0
        self._population: list[_Member] = []

    def evolve(self) -> None:
        """Generations until the budget ends them, or children no longer differ from what was judged."""
        title = self._task.policy.title
        texts = [text.strip().replace("{title}", title) for text in self._task.space.instructions.values()]
        texts = (texts + self._rewritten(texts))[:_POPULATION] if len(texts) < _POPULATION else texts[:_POPULATION]
        self._population = [_Member(text, self._demonstrations(())) for text in texts]
        self._population = self._race(self._population, _POPULATION)
        idle = 0
        while idle < _IDLE:
            before = self._task.meter.spent
            self._population = self._race([*self._population, *self._children()], _POPULATION)
            idle = 0 if self._task.meter.spent > before else idle + 1

    def best(self) -> JudgementProgram:
        """The best member that was judged; the seed prompt when nobody was."""
        judged = [member for member in self._population if member.scores]
        if not judged:
            return self._task.seed_program()
        most = max(len(member.scores) for member in judged)
        final = [member for member in judged if len(member.scores) == most]
        longest = max(member.characters for member in final)
        return self._program(max(final, key=lambda member: member.mean(longest)))

    def _race(self, members: list[_Member], keep: int) -> list[_Member]:
        """Blocks one after the other; whoever has ``keep`` significantly better rivals goes."""
        for number, block in enumerate(self._blocks):
            for member in members:
                if len(member.scores) <= number:
                    member.scores.append(self._score(member, block))
            members = [m for m in members if sum(_better(other, m) for other in members) < keep]
            if len(members) <= keep:
                break
        shared = min(len(member.scores) for member in members)
        longest = max(member.characters for member in members)

        def value(member: _Member) -> float:
            return _Member(member.instruction, member.demos, member.scores[:shared], member.characters).mean(longest)

        return sorted(members, key=value, reverse=True)[:keep]

    def _children(self) -> list[_Member]:
        pairs = [self._draw.sample(self._population, 2) for _ in range(_CHILDREN)]
        crossed = self._write([_CROSS.format(first=a.instruction, second=b.instruction) for a, b in pairs])
        rewritten = self._rewritten(crossed)
        demos = [self._demonstrations((*a.demos, *b.demos)) for a, b in pairs]
        return [_Member(text, shown) for text, shown in zip(rewritten, demos, strict=True)]

    def _rewritten(self, texts: Sequence[str]) -> list[str]:
        return self._write([_REWRITE.format(first=text) for text in texts])

    def _write(self, prompts: Sequence[str]) -> list[str]:
        """One text per prompt; what the model leaves empty falls back on what it was shown."""
        self._written += 1
        requests = [
            GenerationRequest(
                (Segment("user", prompt),), _TOKENS, 0.7, 10_000 * self._task.seed + 100 * self._written + i
            )
            for i, prompt in enumerate(prompts)
        ]
        texts = [written.text.strip()[:_MOST_CHARACTERS] for written in self._task.meter.generate(requests)]
        shown = [prompt.rpartition("\n\n")[2].removeprefix("Second: ") for prompt in prompts]
        return [text or original for text, original in zip(texts, shown, strict=True)]

    def _demonstrations(self, inherited: Sequence[str]) -> tuple[str, ...]:
        """Inherited demonstrations with one added, dropped or nothing changed, shuffled."""
        shown = list(dict.fromkeys(inherited))
        others = [case for case in self._pool if case not in shown]
        if not inherited:
            shown = self._draw.sample(others, self._draw.randint(0, min(_MOST_DEMONSTRATIONS, len(others))))
        elif (change := self._draw.random()) < 1 / 3 and others:
            shown.append(self._draw.choice(others))
        elif change < 2 / 3 and shown:
            shown.remove(self._draw.choice(shown))
        self._draw.shuffle(shown)
        return tuple(shown[:_MOST_DEMONSTRATIONS])

    def _program(self, member: _Member) -> JudgementProgram:
        base = self._task.maker.candidate(self._task.space.seed_point())
        texts = {"instruction": member.instruction}
        return self._task.maker.program(Candidate(choices=base.choices, demos=member.demos, texts=texts))

    def _score(self, member: _Member, block: Sequence[GoldenCase]) -> FloatArray:
        program = self._program(member)
        prompts = program.lower()
        member.characters = sum(len(segment.text) for prompt in prompts for segment in prompt.segments)
        scores = self._task.meter.scores(prompts, program.procedure, block)
        gold = np.array([float(case.is_violation) for case in block])
        return np.nan_to_num(1.0 - np.abs(gold - scores), nan=0.0)


def _better(first: _Member, second: _Member) -> bool:
    """Whether the first is significantly better on the blocks that both saw: a one-sided paired t-test."""
    from scipy.special import stdtr

    shared = min(len(first.scores), len(second.scores))
    change = np.concatenate(first.scores[:shared]) - np.concatenate(second.scores[:shared])
    spread = change.std(ddof=1) if len(change) > 1 else 0.0
    if first is second or not spread:
        return False
    t = change.mean() / (spread / len(change) ** 0.5)
    return bool(1 - stdtr(len(change) - 1, t) < _ALPHA)
