"""What a candidate scores on one split, with intervals."""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from promptopt.core.model import FrozenModel
from promptopt.metrics.calibration import brier_score, expected_calibration_error
from promptopt.metrics.intervals import Interval, bootstrap_interval, wilson_interval
from promptopt.metrics.operating_point import confusion, recall_at_precision
from promptopt.metrics.ranking import average_precision, roc_auc
from promptopt.search.evaluation import Evaluation
from promptopt.search.operating import Operation

FloatArray = npt.NDArray[np.float64]


class SplitReport(FrozenModel):
    """What a candidate scores on one split.

    Attributes:
        cases: Cases in the split.
        positives: Violations among them.
        unjudged: Cases without a verdict.
        metrics: ``auprc``, ``auroc`` and ``recall_at_precision`` (refitted on the split itself), and ``precision``,
            ``recall`` and ``f1`` at the operating point that was fixed on the calibration split, ``brier`` and
            ``ece`` of the calibrated probabilities; 95% intervals, by bootstrap over groups and by Wilson's method
            for the two proportions. A bootstrap's calibration error is biased upwards.
    """

    cases: int
    positives: int
    unjudged: int
    metrics: dict[str, Interval]


def report_split(evaluation: Evaluation, operation: Operation, precision_floor: float) -> SplitReport:
    """What a candidate scores on the cases of an evaluation, at an operating point.

    Args:
        evaluation: Its scores before calibration.
        operation: Calibrator and threshold.
        precision_floor: Of ``recall_at_precision``.
    """
    point = operation.point
    labels, scores = evaluation.labels, operation.probabilities(evaluation.scores)
    groups = [case.group for case in evaluation.cases]
    found = confusion(labels, scores, point.threshold)
    bootstrap = partial(bootstrap_interval, labels, groups=groups)
    return SplitReport(
        cases=len(evaluation.cases),
        positives=int(labels.sum()),
        unjudged=evaluation.measured.summary.unjudged,
        metrics={
            "auprc": bootstrap(evaluation.scores, average_precision),
            "auroc": bootstrap(evaluation.scores, roc_auc),
            "recall_at_precision": bootstrap(evaluation.scores, partial(recall_at_precision, floor=precision_floor)),
            "precision": wilson_interval(found.tp, found.tp + found.fp),
            "recall": wilson_interval(found.tp, found.tp + found.fn),
            "f1": bootstrap(scores, partial(_f1_at, threshold=point.threshold)),
            "brier": bootstrap(scores, brier_score),
            "ece": bootstrap(scores, expected_calibration_error),
        },
    )


def _f1_at(labels: npt.NDArray[np.bool_], scores: FloatArray, *, threshold: float) -> float:
    return confusion(labels, scores, threshold).f1
