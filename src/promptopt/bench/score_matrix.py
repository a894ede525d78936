"""A score matrix: what many candidates say of the same cases, judged once, so that searches can be replayed on it.

It holds log-probabilities, labels and digests; no text of a case and none of a prompt.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from promptopt.core.digest import canonical_json
from promptopt.errors import UserError
from promptopt.metrics.arrays import BoolArray, FloatArray
from promptopt.metrics.ranking import average_precision

_META = "meta"
_PER_CASE = ("labels", "clauses", "severities", "groups", "case_digests")


@dataclass(frozen=True)
class ScoreMatrix:
    """Scores of candidates on cases.

    Attributes:
        logprobs: float32 (candidates, cases): natural log-probability of a violation, NaN where unjudged.
        labels: True for a violation, (cases,).
        clauses: Clause that each label cites, or an empty string, (cases,).
        severities: 0 for allowed, else 1 to 4; int8 (cases,).
        groups: Template or scenario of each case, (cases,).
        case_digests: SHA-256 of each case's text, (cases,).
        candidate_digests: Digest of each candidate, (candidates,).
        meta: Where the scores come from: judge card, golden set, policy, space, versions; plain JSON data.

    Raises:
        ValueError: The shapes do not fit, a log-probability is infinite or above 0, or a candidate comes twice.
    """

    logprobs: npt.NDArray[np.float32]
    labels: BoolArray
    clauses: npt.NDArray[np.str_]
    severities: npt.NDArray[np.int8]
    groups: npt.NDArray[np.str_]
    case_digests: npt.NDArray[np.str_]
    candidate_digests: npt.NDArray[np.str_]
    meta: dict[str, Any]

    def __post_init__(self) -> None:
        if self.logprobs.ndim != 2 or self.candidate_digests.shape != self.logprobs.shape[:1]:
            raise ValueError(f"{self.candidate_digests.shape} candidates do not fit scores {self.logprobs.shape}")
        for name in _PER_CASE:
            if getattr(self, name).shape != self.logprobs.shape[1:]:
                raise ValueError(f"{name} {getattr(self, name).shape} do not fit scores {self.logprobs.shape}")
        if np.isinf(self.logprobs).any() or (self.logprobs > 0).any():
            raise ValueError("log-probabilities must be finite and at most 0, or NaN where unjudged")
        if len(set(self.candidate_digests.tolist())) < len(self.candidate_digests):
            raise ValueError("a candidate comes twice")

    @cached_property
    def auprc(self) -> FloatArray:
        """AUPRC of every candidate over all cases, (candidates,); NaN without a judged violation."""
        scores = self.logprobs.astype(np.float64)
        return np.array([average_precision(self.labels, row) for row in scores], dtype=np.float64)

    @property
    def strata(self) -> list[tuple[str, int]]:
        """Clause and severity of each case."""
        return list(zip(self.clauses.tolist(), self.severities.tolist(), strict=True))

    def save(self, path: Path) -> None:
        """Writes a compressed ``.npz`` file; equal matrices give equal bytes."""
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != _META}
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as stream:
            np.savez_compressed(stream, **arrays, meta=np.array(canonical_json(self.meta)))

    @classmethod
    def load(cls, path: Path) -> ScoreMatrix:
        """Reads a file that :meth:`save` wrote.

        Raises:
            UserError: The file is missing or no score matrix, or has no candidate, no violation or no allowed case.
        """
        remedy = "name a file that `python scripts/score_matrix.py` wrote"
        if not path.is_file():
            raise UserError("the score matrix does not exist", where=path, remedy=remedy)
        try:
            with np.load(path, allow_pickle=False) as stored:
                parts: dict[str, Any] = {f.name: stored[f.name] for f in fields(cls) if f.name != _META}
                matrix = cls(**parts, meta=json.loads(str(stored[_META])))
        except (OSError, ValueError, KeyError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as cause:
            said = " ".join(str(cause).split())[:160]
            raise UserError(f"the file is not a score matrix ({said})", where=path, remedy=remedy) from cause
        if not len(matrix.candidate_digests):
            raise UserError("the score matrix holds no candidate", where=path, remedy=remedy)
        if not matrix.labels.any() or matrix.labels.all():
            missing = "allowed case" if matrix.labels.any() else "violation"
            raise UserError(
                f"the score matrix holds no {missing} among its {len(matrix.labels)} cases",
                where=path,
                remedy="judge cases of both labels: AUPRC is undefined without them",
            )
        return matrix
