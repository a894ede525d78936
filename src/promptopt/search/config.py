"""The configuration of a sweep."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from promptopt.core.model import FrozenModel
from promptopt.search.constraints import ConstraintConfig
from promptopt.search.objective import ObjectiveConfig
from promptopt.search.operating import OperatingPointConfig
from promptopt.search.proposers.config import ProposerConfig
from promptopt.search.racing import RacingConfig
from promptopt.search.winner import WinnerConfig


class BudgetConfig(FrozenModel):
    """When a sweep stops proposing; the first limit that is reached counts. None sets no limit.

    Attributes:
        trials: Distinct candidates.
        judge_calls: Judgements paid for, over all processes of the sweep.
        tokens: Tokens through the model, likewise.
        seconds: Seconds inside the engine, likewise.
    """

    trials: int | None = Field(default=40, ge=1)
    judge_calls: int | None = Field(default=None, ge=1)
    tokens: int | None = Field(default=None, ge=1)
    seconds: float | None = Field(default=None, gt=0)


class SamplerConfig(FrozenModel):
    """How points are proposed.

    Attributes:
        name: ``tpe`` or ``random``.
        startup: Random points before TPE's model is used.
    """

    name: Literal["tpe", "random"] = "tpe"
    startup: int = Field(default=10, ge=1)


class SearchConfig(FrozenModel):
    """A sweep.

    Attributes:
        objective: What is optimised.
        racing: Who is judged on all search cases.
        budget: When to stop.
        sampler: How points are proposed.
        finalists: How many of the best candidates are logged and calibrated in full.
        demo_pool: Search cases set aside for demonstrations.
        constraints: What the winner has to keep on critical slices.
        winner: Who wins: when the seed prompt stays, and how many prompts a jury has.
        operating_point: How the winner's threshold is chosen.
        proposers: Who proposes candidates besides Optuna's sampler; lockstep races only.
    """

    objective: ObjectiveConfig = ObjectiveConfig()
    racing: RacingConfig = RacingConfig()
    budget: BudgetConfig = BudgetConfig()
    sampler: SamplerConfig = SamplerConfig()
    finalists: int = Field(default=3, ge=1)
    demo_pool: int = Field(default=24, ge=0)
    constraints: tuple[ConstraintConfig, ...] = ()
    winner: WinnerConfig = WinnerConfig()
    operating_point: OperatingPointConfig = OperatingPointConfig()
    proposers: ProposerConfig = ProposerConfig()
