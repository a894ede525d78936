"""How far a judge moves by itself: the same cases judged in other company, on the machine that made the bundle."""

from __future__ import annotations

from pydantic import Field, FiniteFloat

from promptopt.core.model import FrozenModel

EXACT_TOLERANCE = 1e-3
"""Allowed of judges whose figures do not depend on company: in float32 they move by millionths."""
_ROOM = 2.0
"""Drift is the largest difference of few cases in few companies; others go somewhat further."""


class Drift(FrozenModel):
    """What other company does to the pinned cases of a judge that is not in float32.

    Half-precision kernels round differently for batches of other sizes, and a server batches whoever asks at once.

    Attributes:
        cases: Cases judged again.
        largest: Largest absolute difference over their answers and scores, all of them probabilities.
        changed: Cases whose verdict was another; they are not pinned.
    """

    cases: int = Field(ge=1)
    largest: FiniteFloat = Field(ge=0.0, le=1.0)
    changed: int = Field(ge=0)

    @property
    def tolerance(self) -> float:
        """Largest difference of a probability that passes for the same judge."""
        return max(EXACT_TOLERANCE, _ROOM * self.largest)
