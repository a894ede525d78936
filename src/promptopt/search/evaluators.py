"""Which judge scores a candidate, in a search over several judges."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from promptopt.core.candidate import Candidate
from promptopt.search.evaluation import Evaluator
from promptopt.search.space import JUDGE


class Evaluators:
    """An evaluator for each judge of a search.

    Args:
        by_judge: Judge's name to its evaluator, the seed prompt's first.

    Raises:
        ValueError: There is none.
    """

    def __init__(self, by_judge: Mapping[str, Evaluator]) -> None:
        if not by_judge:
            raise ValueError("a search needs a judge")
        self._by_judge = MappingProxyType(dict(by_judge))

    @classmethod
    def one(cls, evaluator: Evaluator) -> Evaluators:
        """Those of a search whose space has a single judge, which no candidate names."""
        return cls({"": evaluator})

    def of(self, candidate: Candidate) -> Evaluator:
        """The evaluator of the judge that a candidate names.

        Raises:
            ValueError: It names none where there are several, or one that is not among them.
        """
        name = candidate.choices.get(JUDGE)
        if name is None and len(self._by_judge) == 1:
            return next(iter(self._by_judge.values()))
        if name not in self._by_judge:
            raise ValueError(f"candidate {candidate.short_digest} names the judge {name!r}, not {list(self._by_judge)}")
        return self._by_judge[str(name)]
