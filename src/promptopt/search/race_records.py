"""What a race asks for, and what it records of those who leave it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from promptopt.core.model import FrozenModel
from promptopt.metrics.arrays import IntArray, Measured

DropReason = Literal["test", "budget", "max_survivors", "unmeasured"]


@dataclass(frozen=True, slots=True)
class RaceBlock:
    """What to judge next.

    Attributes:
        number: Counts from 0.
        rows: The block's cases, as rows of :class:`~promptopt.search.race_blocks.RaceCases`.
        candidates: Who is to be judged on them.
    """

    number: int
    rows: IntArray
    candidates: tuple[str, ...]


class Drop(FrozenModel):
    """A candidate that left the race.

    Attributes:
        candidate: Who.
        why: ``test``: significantly worse than the leader. ``budget``: it could not be afforded any longer;
            ``max_survivors``: no room was left for it; no error bound covers these two. ``unmeasured``: without any
            judged violation it has no AUPRC.
        cases: Cases seen by then.
        value: Its AUPRC as estimated from them.
        leader: Who led.
        leader_value: The leader's AUPRC.
        p: The test's p-value; NaN where no test dropped it.
        level: What p had to be at most; NaN where no test dropped it.
    """

    candidate: str
    why: DropReason
    cases: int
    value: Measured
    leader: str
    leader_value: Measured
    p: Measured = float("nan")
    level: Measured = float("nan")
