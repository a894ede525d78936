"""Makes the winner's bundle."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from promptopt import __version__
from promptopt.bundle.files import read_bundle, write_bundle
from promptopt.bundle.model import (
    MAX_PARITY_CASES,
    GoldenRecord,
    ParityCase,
    PolicyRecord,
    PromptBundle,
    SealOpening,
    SplitScores,
)
from promptopt.core.case import Label
from promptopt.errors import BundleError
from promptopt.judges.config import JudgeConfig
from promptopt.pipeline.drift import with_drift
from promptopt.pipeline.workspace import Workspace
from promptopt.policy.asking import answers_of_case
from promptopt.search.finalists import FinalComparison, Finalist


def export_winner(workspace: Workspace, comparison: FinalComparison, folder: Path) -> PromptBundle:
    """Writes the winner as a bundle.

    Args:
        workspace: The sweep's parts.
        comparison: The final comparison.
        folder: Where to; a bundle that is already there is replaced.

    Returns:
        The bundle. One that is already there and differs in nothing but its date, and what is measured at its export,
        stays as it is.
    """
    config, winner = workspace.config, comparison.winner
    judge, engine = workspace.judge_of(winner.record.candidate)
    card = engine.describe()
    bundle = PromptBundle(
        name=config.name,
        domain=workspace.policy.domain,
        created=datetime.now(UTC),
        promptopt=__version__,
        prompts=winner.prompts,
        procedure=winner.procedure,
        calibration=winner.operation.calibrator,
        certificate=winner.operation.certificate,
        band=winner.operation.band,
        operating_point=winner.operating_point,
        policy=PolicyRecord(
            title=workspace.policy.title, version=workspace.policy.version, digest=workspace.policy.digest
        ),
        golden=GoldenRecord(name=workspace.golden.name, digest=workspace.golden.digest),
        candidate=winner.digest,
        engine=card.to_dict(),
        fingerprint=card.fingerprint,
        judge=_judge_as_measured(judge, card.dtype),
        scores={split: SplitScores(**report.model_dump()) for split, report in winner.reports.items()},
        parity=_parity(winner),
        openings=tuple(
            SealOpening(opened=o.opened, who=o.who, why=o.why, candidate=o.candidate) for o in comparison.openings
        ),
        policy_source=workspace.policy_path.read_text(encoding="utf-8"),
    )
    earlier = _earlier(folder)
    at_export = {"created": bundle.created, "drift": bundle.drift, "parity": bundle.parity}
    if earlier and earlier.model_copy(update=at_export) == bundle:
        return earlier
    bundle = with_drift(bundle, engine)
    write_bundle(bundle, folder, overwrite=True)
    return bundle


def _earlier(folder: Path) -> PromptBundle | None:
    """The bundle that an earlier run of the command left; None where there is none that is whole."""
    try:
        return read_bundle(folder)
    except BundleError:
        return None


def _judge_as_measured(judge: JudgeConfig, dtype: str) -> dict[str, Any]:
    """The judge's configuration with the number format that was measured, so that other hardware uses the same."""
    if judge.engine == "local":
        judge = JudgeConfig.model_validate({**judge.model_dump(), "dtype": dtype})
    return judge.model_dump(mode="json")


def _parity(winner: Finalist) -> tuple[ParityCase, ...]:
    """Search cases to pin: spread over the whole range of scores, judged ones only."""
    scores = winner.procedure.score(winner.search.answers.probabilities)  # the search compares by others where it fits
    calibrated = winner.operation.probabilities(scores)
    judged = np.flatnonzero(~np.isnan(scores))
    ordered = judged[np.argsort(scores[judged], kind="stable")]
    chosen = np.unique(np.linspace(0, len(ordered) - 1, min(MAX_PARITY_CASES, len(ordered))).round().astype(int))
    pinned = []
    for row in ordered[chosen]:
        case = winner.search.cases[row]
        label = Label.VIOLATION if calibrated[row] >= winner.operating_point.threshold else Label.ALLOWED
        answers = answers_of_case(winner.search.answers.probabilities, int(row))
        content = {"text": case.text, "parts": case.parts}
        pinned.append(ParityCase(id=case.id, **content, answers=answers, score=float(scores[row]), label=label))
    return tuple(pinned)
