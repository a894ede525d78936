"""Where a finalist is cut: calibrator, threshold and, where it is asked for, a certificate.

Everything here is fitted on the calibration split. A certificate rests on one case of each group, because cases of one
template are not independent, and on cases that nothing else has looked at: it is refused where a search case is among
them. The calibrator beside a certificate is Platt's, a strictly rising map, so that the threshold certified on the
judge's scores is the same cut on probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import Field

from promptopt.core.case import GoldenCase
from promptopt.core.digest import digest_text
from promptopt.core.model import FrozenModel
from promptopt.errors import GoldenSetError, UserError
from promptopt.metrics.arrays import BoolArray, FloatArray
from promptopt.metrics.bands import Band, choose_band
from promptopt.metrics.calibration import PlattCalibrator, fit_platt
from promptopt.metrics.calibrator_choice import choose_by_log_loss
from promptopt.metrics.certificates import Certificate, certify_precision, certify_recall
from promptopt.metrics.isotonic import Calibrator, fit_isotonic
from promptopt.metrics.operating_point import Criterion, OperatingPoint, choose_threshold, confusion
from promptopt.search.evaluation import Evaluation

PointCriterion = Literal["recall_at_precision", "f1", "certified_recall", "certified_precision", "band"]
_CLIP = 1e-6  # scores nearer to 0 or 1 are one and the same to Platt's calibration


class OperatingPointConfig(FrozenModel):
    """How the winner's threshold is chosen on the calibration split.

    Attributes:
        criterion: ``recall_at_precision``: the highest recall at ``objective.precision_floor``. ``f1``: the highest
            F1. ``certified_recall``: the strictest threshold whose recall is at least ``recall_floor`` with confidence
            ``1 - delta`` on new cases (Learn-then-Test). ``certified_precision``: the most permissive one whose
            precision is at least ``objective.precision_floor`` with that confidence. ``band``: both at once, with
            people for the scores in between; an end that cannot be certified leaves its side to people.
        recall_floor: Recall to certify.
        delta: Probability that a certificate does not hold.
        domains: So many domains share ``delta``, so that all their certificates hold together.
        calibrator: ``auto`` takes the one with the lowest cross-validated log loss. A certificate takes Platt's.
        require: Whether a sweep fails where nothing can be certified for its winner; otherwise it falls back on
            ``recall_at_precision`` and says so.
    """

    criterion: PointCriterion = "recall_at_precision"
    recall_floor: float = Field(default=0.9, gt=0.0, lt=1.0)
    delta: float = Field(default=0.05, gt=0.0, lt=1.0)
    domains: int = Field(default=1, ge=1)
    calibrator: Literal["auto", "platt", "isotonic", "none"] = "platt"
    require: bool = False

    @property
    def certified(self) -> bool:
        """Whether a certificate is asked for."""
        return self.criterion in ("certified_recall", "certified_precision", "band")


@dataclass(frozen=True, slots=True)
class Operation:
    """How a finalist's scores become verdicts.

    Attributes:
        calibrator: From scores to probabilities; None leaves them as they are.
        point: The threshold on probabilities.
        certificate: What is certain about it, on the scale of scores, or why nothing is; None where none was asked for.
        band: Scores between its ends go to people; on the scale of scores.
    """

    calibrator: Calibrator | None
    point: OperatingPoint
    certificate: Certificate | None
    band: Band | None = None

    def probabilities(self, scores: FloatArray) -> FloatArray:
        """Calibrated probabilities of violation; NaN stays NaN."""
        return scores if self.calibrator is None else self.calibrator.apply(scores)


def fit_operation(calibration: Evaluation, config: OperatingPointConfig, precision_floor: float) -> Operation:
    """Fits calibrator and threshold.

    Args:
        calibration: A finalist on the calibration split.
        config: What is asked for.
        precision_floor: Precision to keep.

    Returns:
        The operation. Where a certificate is refused, the threshold is that of ``recall_at_precision``, marked
        infeasible with the refusal as its note.

    Raises:
        UserError: A certificate is required and cannot be given; says how many more cases it would take.
    """
    labels, scores = calibration.labels, calibration.scores
    certified = config.certified
    calibrator = fit_platt(labels, scores) if certified else _calibrator(calibration, config)
    criterion: Literal["recall_at_precision", "f1"] = "f1" if config.criterion == "f1" else "recall_at_precision"
    probabilities = scores if calibrator is None else calibrator.apply(scores)
    point = choose_threshold(labels, probabilities, criterion, precision_floor)
    if not certified:
        return Operation(calibrator, point, None)
    if config.criterion == "band":
        return _banded(calibration, config, precision_floor, Operation(calibrator, point, None))
    certificate = _certify(calibration, config, precision_floor)
    if certificate.threshold is None:
        if config.require:
            raise _refusal(certificate.note)
        update = {"feasible": False, "note": f"not certified: {certificate.note}"}
        return Operation(calibrator, point.model_copy(update=update), certificate)
    kept, point = _at(
        certificate.threshold,
        calibrator,
        calibration,
        "certified_recall" if certificate.kind == "recall" else "certified_precision",
    )
    return Operation(kept, point, certificate)


def one_of_each_group(cases: Sequence[GoldenCase]) -> BoolArray:
    """True for one case of each group, drawn without a look at its label; shape (cases,)."""
    first = {case.group: case.id for case in sorted(cases, key=lambda case: digest_text(case.id), reverse=True)}
    return np.array([first[case.group] == case.id for case in cases], dtype=np.bool_)


def check_unseen(calibration: Sequence[GoldenCase], search: Sequence[GoldenCase]) -> None:
    """Refuses to certify on what the search has seen.

    Raises:
        GoldenSetError: A calibration case's text, or its group, is among the search cases.
    """
    texts, groups = {case.digest for case in search}, {case.group for case in search}
    seen = [case.id for case in calibration if case.digest in texts or case.group in groups]
    if seen:
        raise GoldenSetError(
            f"{len(seen)} calibration cases were seen by the search, the first is {seen[0]}: a certificate on them "
            "would be void",
            remedy="split the golden set anew so that no text or group is in two splits",
        )


def _calibrator(calibration: Evaluation, config: OperatingPointConfig) -> Calibrator | None:
    labels, scores = calibration.labels, calibration.scores
    match config.calibrator:
        case "none":
            return None
        case "platt":
            return fit_platt(labels, scores)
        case "isotonic":
            return fit_isotonic(labels, scores)
        case "auto":
            return choose_by_log_loss(labels, scores, [case.group for case in calibration.cases])


def _certify(calibration: Evaluation, config: OperatingPointConfig, precision_floor: float) -> Certificate:
    kept = one_of_each_group(calibration.cases)
    labels, scores = calibration.labels[kept], calibration.scores[kept]
    delta = config.delta / config.domains
    if config.criterion == "certified_recall":
        return certify_recall(labels, scores, config.recall_floor, delta)
    return certify_precision(labels, scores, precision_floor, delta)


def _banded(calibration: Evaluation, config: OperatingPointConfig, floor: float, uncertified: Operation) -> Operation:
    """The band, with the label inside it by the best threshold that contradicts neither end."""
    kept = one_of_each_group(calibration.cases)
    labels, scores = calibration.labels, calibration.scores
    delta = config.delta / config.domains
    band = choose_band(labels[kept], scores[kept], config.recall_floor, floor, delta)
    if band.note and config.require:
        raise _refusal(band.note)
    if band.low is None and band.high is None:
        update = {"feasible": False, "note": f"no band: {band.note}"}
        return Operation(uncertified.calibrator, uncertified.point.model_copy(update=update), None)
    if band.low is not None and band.high is not None and band.low > band.high:
        # The upper end keeps both floors: recall only grows below the lower one.
        band = band.model_copy(update={"low": band.high})
    threshold = choose_threshold(labels, scores, "recall_at_precision", floor).threshold
    threshold = float(np.clip(threshold, band.low, band.high))
    calibrator, point = _at(threshold, uncertified.calibrator, calibration, "band")
    point = point.model_copy(update={"feasible": not band.note, "note": band.note})
    return Operation(calibrator, point, None, band)


def _refusal(note: str) -> UserError:
    return UserError(
        f"no certified operating point: {note}",
        where="search.operating_point",
        remedy="label more calibration cases, lower the floor, raise delta, or set require=false",
    )


def _at(
    threshold: float, calibrator: Calibrator | None, calibration: Evaluation, criterion: Criterion
) -> tuple[Calibrator | None, OperatingPoint]:
    """The certified cut on the scale of probabilities; on that of scores where calibration would blur it."""
    sharp = isinstance(calibrator, PlattCalibrator) and calibrator.slope > 0 and _CLIP < threshold < 1 - _CLIP
    kept = calibrator if sharp else None
    cut = float(kept.apply(np.array([threshold]))[0]) if kept is not None else threshold
    scores = calibration.scores if kept is None else kept.apply(calibration.scores)
    found = confusion(calibration.labels, scores, cut)
    point = OperatingPoint(
        threshold=cut,
        criterion=criterion,
        precision=found.precision,
        recall=found.recall,
        f1=found.f1,
        feasible=True,
    )
    return kept, point
