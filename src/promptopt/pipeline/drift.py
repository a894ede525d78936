"""Measures what company does to a judge; see :class:`promptopt.bundle.drift.Drift`."""

from __future__ import annotations

from collections.abc import Sequence

from promptopt.bundle.drift import Drift
from promptopt.bundle.model import PromptBundle
from promptopt.bundle.parity import CaseParity
from promptopt.bundle.runtime import BundleJudge
from promptopt.engines.base import JudgeEngine

_EXACT = "float32"
_ANYTHING = 1.0  # probabilities cannot differ by more


def with_drift(bundle: PromptBundle, engine: JudgeEngine) -> PromptBundle:
    """The bundle with the drift of its pinned cases, and without those whose verdict hangs on their company.

    They are judged in the two companies that are furthest apart: all together, as ``bundle verify`` does, and alone.

    Args:
        bundle: Measured on this engine.
        engine: Judges in float32 are exact to millionths in any company, and are not asked.

    Returns:
        The same bundle where nothing drifts, or where the engine judges no case.

    Raises:
        EngineError: The engine cannot serve the cases at all.
    """
    if engine.describe().dtype == _EXACT:
        return bundle
    together, alone = _together(bundle, engine), _alone(bundle, engine)
    judged = [case for case in (*together, *alone) if case.difference is not None]
    changed = {case.id for case in judged if case.found != case.expected}
    if not judged:
        return bundle
    drift = Drift(
        cases=len({case.id for case in judged}),
        largest=max(case.difference for case in judged if case.difference is not None),
        changed=len(changed),
    )
    parity = tuple(case for case in bundle.parity if case.id not in changed) or bundle.parity
    return bundle.model_copy(update={"drift": drift, "parity": parity})


def _together(bundle: PromptBundle, engine: JudgeEngine) -> Sequence[CaseParity]:
    return BundleJudge(bundle, engine).verify(_ANYTHING).cases


def _alone(bundle: PromptBundle, engine: JudgeEngine) -> list[CaseParity]:
    singles = (bundle.model_copy(update={"parity": (case,)}) for case in bundle.parity)
    return [case for single in singles for case in _together(single, engine)]
