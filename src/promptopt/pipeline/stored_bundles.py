"""What bundles say of golden cases: from the score store, and where it lacks a score, from the judge, opened for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from promptopt.bundle.composition.opening import EnginePool
from promptopt.bundle.composition.tree import Leaf
from promptopt.bundle.runtime import BundleJudge
from promptopt.core.case import GoldenCase
from promptopt.engines.base import (
    EngineCard,
    Generation,
    GenerationRequest,
    JudgeEngine,
    LabelQuery,
    LabelScores,
    TokenCount,
)
from promptopt.metrics.arrays import FloatArray
from promptopt.scores.store import ScoreStore
from promptopt.search.judging import StoredJudge

_STUDY = "fit of a composition"


def stored_probabilities(
    leaves: Sequence[Leaf], cases: Sequence[GoldenCase], store: ScoreStore, pool: EnginePool
) -> Mapping[str, FloatArray]:
    """Calibrated probabilities of violation.

    Args:
        leaves: Bundles; one that stands twice is asked once.
        cases: The cases.
        store: Holds the scores that were paid for; what is missing is judged and stored.
        pool: Opens the engines that are needed; the caller closes it.

    Returns:
        Digest of each bundle to float64 of shape (cases,), NaN where unjudged.

    Raises:
        BundleError: A judge has to be opened and is not the one that was measured.
        EngineError: It cannot be opened, or cannot serve the cases.
    """
    found: dict[str, FloatArray] = {}
    for leaf in leaves:
        if leaf.digest in found:
            continue
        bundle = leaf.bundle
        answers = StoredJudge(_WhenNeeded(leaf, pool), store, _STUDY).answers(bundle.prompts, cases)
        scores = bundle.procedure.score(answers.probabilities)
        calibrated = scores if bundle.calibration is None else bundle.calibration.apply(scores)
        found[leaf.digest] = np.asarray(calibrated, dtype=np.float64)
    return found


class _WhenNeeded:
    """The measured engine of a bundle, known by its card and opened by the first question."""

    def __init__(self, leaf: Leaf, pool: EnginePool) -> None:
        self._leaf = leaf
        self._pool = pool
        self._engine: JudgeEngine | None = None

    def describe(self) -> EngineCard:
        return self._leaf.bundle.engine_card

    def score(self, queries: Sequence[LabelQuery]) -> LabelScores:
        return self._opened().score(queries)

    def count_tokens(self, queries: Sequence[LabelQuery]) -> TokenCount:
        return self._opened().count_tokens(queries)

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        return self._opened().generate(requests)

    def close(self) -> None:
        """The pool closes engines."""

    def _opened(self) -> JudgeEngine:
        if self._engine is None:
            engine = self._pool.engine(self._leaf)
            # Scores are stored under the measured judge's fingerprint: no other may answer for it.
            BundleJudge(self._leaf.bundle, engine).check_engine()
            self._engine = engine
        return self._engine
