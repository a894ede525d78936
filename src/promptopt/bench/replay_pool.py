"""What a replayed search may look at: a part of a score matrix, and a ledger of judgements that cannot be overdrawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from promptopt.bench.score_matrix import ScoreMatrix
from promptopt.metrics.arrays import BoolArray, FloatArray, IntArray
from promptopt.search.race_blocks import RaceCases


@dataclass(frozen=True)
class ReplayPool:
    """The candidates and cases of one replay, in an order of their own.

    Attributes:
        scores: float64 (candidates, cases): log-probability of a violation, NaN where unjudged.
        truth: AUPRC of each candidate over all cases, (candidates,); 0 where undefined.
        cases: Labels and strata.
        digests: Candidate digests.
    """

    scores: FloatArray
    truth: FloatArray
    cases: RaceCases
    digests: tuple[str, ...]

    @classmethod
    def draw(cls, matrix: ScoreMatrix, share: float, seed: int) -> ReplayPool:
        """A random share of a matrix's candidates, and all its cases, both in random order."""
        random = np.random.default_rng([seed, 1])
        rows, columns = matrix.logprobs.shape
        kept = random.permutation(rows)[: max(1, round(share * rows))]
        order = random.permutation(columns)
        strata = matrix.strata
        return cls(
            scores=matrix.logprobs.astype(np.float64)[np.ix_(kept, order)],
            truth=np.nan_to_num(matrix.auprc[kept]),
            cases=RaceCases(matrix.labels[order], [strata[case] for case in order], matrix.groups[order].tolist()),
            digests=tuple(matrix.candidate_digests[kept].tolist()),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Candidates, cases."""
        return self.scores.shape[0], self.scores.shape[1]

    @property
    def labels(self) -> BoolArray:
        """True for a violation, (cases,)."""
        return self.cases.labels

    def allowance(self, share: float) -> int:
        """Judgements that a share of the full grid comes to."""
        return int(share * self.size[0] * self.size[1] + 1e-9)


class Ledger:
    """Hands out scores against an allowance; asking twice for one judgement costs once, as the score store has it.

    Args:
        pool: The pool.
        allowance: Judgements that may be spent.

    Attributes:
        spent: Distinct judgements handed out.
    """

    def __init__(self, pool: ReplayPool, allowance: int) -> None:
        self._pool = pool
        self._known = np.zeros(pool.size, dtype=np.bool_)
        self._allowance = allowance
        self.spent = 0

    @property
    def left(self) -> int:
        """Judgements that may still be spent."""
        return self._allowance - self.spent

    def price(self, candidate: int, rows: IntArray | Sequence[int]) -> int:
        """Judgements that these scores would cost; ``rows`` are distinct."""
        return int((~self._known[candidate, np.asarray(rows, dtype=np.int64)]).sum())

    def ask(self, candidate: int, rows: IntArray | Sequence[int]) -> FloatArray:
        """The candidate's scores on these cases.

        Raises:
            RuntimeError: They cost more than is left; a policy has to look at ``price`` first.
        """
        price = self.price(candidate, rows)
        if price > self.left:
            raise RuntimeError(f"{price} judgements asked for, {self.left} left")
        index = np.asarray(rows, dtype=np.int64)
        self._known[candidate, index] = True
        self.spent += price
        return np.asarray(self._pool.scores[candidate, index])
