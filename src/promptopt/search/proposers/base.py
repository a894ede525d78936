"""The contract of a proposer.

The sweep calls :meth:`Proposer.propose` before each race with what is known by then. A proposal is a point of the
search space, and perhaps texts that stand in place of some components' choices. It depends on the history, the count
and the seed alone, so that a resumed sweep proposes what the killed one proposed; the history is not mutated.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from promptopt.core.candidate import Candidate, Choice
from promptopt.core.case import GoldenCase
from promptopt.metrics.arrays import FloatArray


@dataclass(frozen=True, slots=True)
class Proposal:
    """A candidate to try.

    Attributes:
        point: A choice for every dimension of the space.
        texts: Component (``"instruction"``, ``"policy"``) to a text in place of the point's choice.
        source: Name of the proposer, for the record.
    """

    point: Mapping[str, Choice]
    texts: Mapping[str, str] = field(default_factory=dict)
    source: str = "grammar"


@dataclass(frozen=True, slots=True)
class Tried:
    """A candidate that was judged.

    Attributes:
        proposal: What was proposed.
        candidate: What it came to.
        goodness: The first objective on the cases it was judged on; larger is better, NaN where undefined.
        complete: True when it was judged on every search case.
    """

    proposal: Proposal
    candidate: Candidate
    goodness: float
    complete: bool


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The best complete candidate so far, with what it says of every search case.

    Attributes:
        tried: The candidate.
        cases: The search cases.
        scores: Probability of violation, (cases,); NaN where unjudged.
    """

    tried: Tried
    cases: Sequence[GoldenCase]
    scores: FloatArray


@dataclass(frozen=True, slots=True)
class History:
    """What a proposer may know.

    Attributes:
        tried: Distinct candidates in the order in which they were tried.
        incumbent: The best complete one; None before there is one.
    """

    tried: Sequence[Tried] = ()
    incumbent: Incumbent | None = None


class Proposer(Protocol):
    """Proposes candidates."""

    name: str

    def propose(self, history: History, count: int, seed: int) -> list[Proposal]:
        """Proposes up to so many candidates.

        Args:
            history: What was tried.
            count: Most proposals wanted; fewer, or none, may come.
            seed: Of this call's draws.

        Returns:
            Proposals; the sweep leaves out what is empty, too long, copied from a golden case, or was tried before.

        Raises:
            EngineError: The language model that the proposer asks cannot be reached at all.
        """
        ...
