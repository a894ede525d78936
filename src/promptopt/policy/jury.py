"""A jury of prompts: several decision procedures on one judge, pooled into one probability.

The best of many prompts on a hundred cases is mostly the luckiest of them; what several good prompts agree on is not
luck. A jury costs the judgements of all its members on every case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal, Self, TypeVar

import numpy as np
from pydantic import Field, model_validator

from promptopt.core.model import FrozenModel
from promptopt.core.verdict import Verdict
from promptopt.policy.log_odds import log_odds, sigmoid
from promptopt.policy.model import Clause
from promptopt.policy.procedure import Answer, FloatArray, Procedure

_LEAST_SPREAD = 1e-6

Given = TypeVar("Given")


class LogOddsScale(FrozenModel):
    """Where a prompt's log-odds lie, and how far they spread: prompts that say the same in louder words count alike.

    Attributes:
        centre: Mean log-odds of a violation over some cases; no labels are needed.
        spread: Their standard deviation.
    """

    centre: float
    spread: float = Field(gt=0.0)

    @classmethod
    def of(cls, scores: FloatArray) -> LogOddsScale:
        """The scale of a prompt's scores.

        Args:
            scores: Probabilities of violation, (cases,); NaN where unjudged.

        Raises:
            ValueError: No case is judged.
        """
        judged = log_odds(scores[~np.isnan(scores)])
        if not len(judged):
            raise ValueError("a scale needs a judged case")
        return cls(centre=float(judged.mean()), spread=max(float(judged.std()), _LEAST_SPREAD))

    def apply(self, scores: FloatArray) -> FloatArray:
        """Standardised log-odds, of the scores' shape; NaN stays NaN."""
        return np.asarray((log_odds(scores) - self.centre) / self.spread)


def pool(scores: Sequence[FloatArray], scales: Sequence[LogOddsScale]) -> FloatArray:
    """A logarithmic opinion pool with equal weights, each opinion on its own scale.

    Source: Genest and Zidek, "Combining probability distributions: a critique and an annotated bibliography" (1986).
    Equal weights: on a few hundred labels fitted ones lose more by their noise than they win.

    Args:
        scores: One array of probabilities per member, all of shape (cases,); NaN where unjudged.
        scales: The members' scales.

    Returns:
        float64 of shape (cases,), in (0, 1): it ranks cases, and is no probability before it is calibrated. NaN where
        any member left the case unjudged.
    """
    total = np.zeros(np.shape(scores[0]))
    for member, scale in zip(scores, scales, strict=True):  # one at a time: the same sum whatever the batch
        total = total + scale.apply(member)
    return sigmoid(total / len(scales))


class Juror(FrozenModel):
    """A member of a jury.

    Attributes:
        name: What its questions are called by, apart from the other members'.
        procedure: How its answers become a probability of violation.
        scale: Of that probability, from the search cases.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9]*$")
    procedure: Procedure
    scale: LogOddsScale


class JuryProcedure(FrozenModel):
    """How the answers to all members' questions become one verdict; serves wherever a :class:`Procedure` does.

    Attributes:
        shape: ``jury``.
        members: Two or more, the first being the one whose reasons are given.
    """

    shape: Literal["jury"] = "jury"
    members: tuple[Juror, ...] = Field(min_length=2)

    @classmethod
    def of(cls, procedures: Sequence[Procedure], scales: Sequence[LogOddsScale]) -> JuryProcedure:
        """A jury of these procedures, whose members are called ``j1``, ``j2`` and so on."""
        both = enumerate(zip(procedures, scales, strict=True), start=1)
        return cls(members=tuple(Juror(name=f"j{i}", procedure=p, scale=s) for i, (p, s) in both))

    @model_validator(mode="after")
    def _named_apart(self) -> Self:
        names = [member.name for member in self.members]
        if len(set(names)) < len(names):
            raise ValueError(f"two members of a jury have one name: {names}")
        return self

    @property
    def single(self) -> tuple[Procedure, ...]:
        """The members' procedures."""
        return tuple(member.procedure for member in self.members)

    @property
    def clauses(self) -> tuple[Clause, ...]:
        """The policy's clauses, which all members judge by."""
        return self.members[0].procedure.clauses

    @cached_property
    def questions(self) -> tuple[str, ...]:
        """Names of the questions whose answers :meth:`score` needs, in order: ``j1.violation``."""
        return tuple(_named(member, question) for member in self.members for question in member.procedure.questions)

    def score(self, answers: Mapping[str, FloatArray]) -> FloatArray:
        """The members' pooled score.

        Args:
            answers: Question name to the answers of all cases, see :meth:`Procedure.score`.

        Returns:
            float64 of shape (cases,), see :func:`pool`.
        """
        scores = [member.procedure.score(_own(member, answers)) for member in self.members]
        return pool(scores, [member.scale for member in self.members])

    def verdict(self, answers: Mapping[str, Answer], score: float, threshold: float) -> Verdict:
        """The verdict on one case.

        Args:
            answers: Question name to the answer, see :meth:`Procedure.verdict`.
            score: The jury's score, on the scale of the threshold.
            threshold: Scores at or above it are violations.

        Returns:
            A verdict with the clause and rule of the first member that cites one, seen from the jury's outcome. It is
            escalated where any member escalates.
        """
        opinions = [m.procedure.verdict(_own(m, answers), score, threshold) for m in self.members]
        reasoned = next((opinion for opinion in opinions if opinion.clause is not None), opinions[0])
        return reasoned.model_copy(update={"escalate": any(opinion.escalate for opinion in opinions)})


def _named(member: Juror, question: str) -> str:
    return f"{member.name}.{question}"


def _own(member: Juror, answers: Mapping[str, Given]) -> dict[str, Given]:
    return {question: answers[_named(member, question)] for question in member.procedure.questions}
