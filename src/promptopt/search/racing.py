"""Racing: candidates that the first cases already show to be poor are not judged on the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field

from promptopt.core.model import FrozenModel
from promptopt.search.lockstep import LockstepConfig

_ROUNDING = 1e-9


class FieldConfig(LockstepConfig):
    """A lockstep race within a sweep.

    Attributes:
        field: New candidates in each race; the best of the races before run with them.
        incumbents: So many of the best complete candidates run again, at no cost.
        budget: As in :class:`~promptopt.search.lockstep.LockstepConfig`; of one race.
    """

    field: int = Field(default=20, ge=2)
    incumbents: int = Field(default=2, ge=0)
    budget: float = Field(default=0.3, gt=0.0, le=1.0)


class RacingConfig(FrozenModel):
    """Who is judged on all search cases.

    Attributes:
        rule: ``lockstep``: whole fields of candidates on shared blocks, dropped by paired tests under one error budget
            (:mod:`promptopt.search.lockstep`). ``asha``: one candidate after the other, by rank among those before it
            (asynchronous successive halving, Li et al. 2020, arXiv 1810.05934); the next three belong to it.
        blocks: Sizes of the first blocks of cases; the rest of the search cases form the last. Empty: no racing.
        keep: Share of the candidates seen so far that goes on to the next block.
        warmup: So many candidates pass the first blocks unconditionally.
        lockstep: The lockstep race.
    """

    rule: Literal["lockstep", "asha"] = "asha"
    blocks: tuple[Annotated[int, Field(ge=1)], ...] = (24,)
    keep: float = Field(default=0.34, gt=0.0, le=1.0)
    warmup: int = Field(default=3, ge=0)
    lockstep: FieldConfig = FieldConfig()


def goes_on(value: float, earlier: Sequence[float], config: RacingConfig) -> bool:
    """Decides after a block of ``asha`` whether a candidate goes on.

    Args:
        value: Its objective on the cases so far; larger is better.
        earlier: The objectives of earlier candidates on the same cases.
        config: The rule.

    Returns:
        True when it is among the best ``keep`` share of all candidates seen at this block, itself included. Ties go
        on. The decision depends on earlier candidates alone, so a resumed sweep decides as an undisturbed one.
    """
    if len(earlier) < config.warmup:
        return True
    places = max(1, math.ceil(config.keep * (len(earlier) + 1) - _ROUNDING))
    better = sum(other > value for other in earlier)
    return better < places
