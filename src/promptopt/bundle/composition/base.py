"""What cascades and juries have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import reduce
from typing import ClassVar

from promptopt.bundle.blocks import BlockJudge
from promptopt.bundle.composition.parity import verify_composition
from promptopt.bundle.composition.tree import Branch, joint_fingerprint, within
from promptopt.bundle.contract import JudgeCost, TextJudge
from promptopt.bundle.parity import VerifyReport
from promptopt.bundle.runtime import BundleJudge
from promptopt.engines.base import Usage


class CompositeJudge(BlockJudge):
    """A judge made of judges; see :class:`promptopt.bundle.contract.TextJudge`.

    Args:
        branch: What it is made of.
        parts: A judge for each of its parts, set up for the place that it has here.
        bundles: Every bundle of it as it was exported, with its engine; for verification.

    Attributes:
        branch: What it is made of.
    """

    blocks_held: ClassVar[int] = 8  # so that later stages, which get few cases of each block, are asked in whole ones

    def __init__(self, branch: Branch, parts: Sequence[TextJudge], bundles: Mapping[str, BundleJudge]) -> None:
        self.branch = branch
        self._parts = tuple(parts)
        self._bundles = dict(bundles)
        self._own = JudgeCost(place="", name=branch.name)

    @property
    def name(self) -> str:
        """What people call it."""
        return self.branch.name

    @property
    @abstractmethod
    def threshold(self) -> float:
        """Probabilities at or above it are violations, unless a band says otherwise."""

    @property
    def usage(self) -> Usage:
        """What all calls so far have cost, all parts together."""
        return reduce(Usage.__add__, (part.usage for part in self._parts), Usage())

    def costs(self) -> tuple[JudgeCost, ...]:
        """What all calls so far have cost: of the whole first, then of every part with its parts, in order."""
        usage = self.usage
        own = self._own.model_copy(
            update={
                "judgements": usage.queries,
                "tokens_submitted": usage.tokens_submitted,
                "tokens_computed": usage.tokens_computed,
                "seconds": usage.seconds,
            }
        )
        rows = [own]
        for number, part in enumerate(self._parts, 1):
            for row in part.costs():
                place = f"{number}.{row.place}" if row.place else str(number)
                rows.append(row.model_copy(update={"place": place}))
        return tuple(rows)

    def check_engine(self) -> None:
        """Refuses other judges than those that were measured; see :meth:`BundleJudge.check_engine`."""
        for judge in self._bundles.values():
            judge.check_engine()

    def engine_fingerprint(self) -> str:
        """Over those of all engines, in the order of the bundles."""
        return joint_fingerprint([judge.engine_fingerprint() for judge in self._bundles.values()])

    def verify(self, tolerance: float | None = None) -> VerifyReport:
        """Judges the pinned cases of every bundle again, then those of the composition, and compares.

        Args:
            tolerance: Largest difference of a probability that passes; None is each bundle's own, and the widest of
                them for what the composition says.

        Returns:
            One report; the ids of a bundle's cases begin with its place (``2.1:case-7``).

        Raises:
            EngineError: An engine cannot serve the cases at all.
        """
        return verify_composition(self, self.branch, self._bundles, tolerance)

    def _count(self, *, cases: int, unjudged: int, passed: int) -> None:
        self._own += JudgeCost(place="", name=self.name, cases=cases, unjudged=unjudged, passed=passed)

    def _place(self, number: int, inner: str) -> str:
        """The place of a bundle that a part calls ``inner``."""
        return f"{number}.{inner}" if inner else within("", number)
