"""The numbers that every report shows for one vector of scores."""

from __future__ import annotations

import numpy as np

from promptopt.core.model import FrozenModel
from promptopt.metrics.arrays import BoolArray, FloatArray, Measured, judged_rows
from promptopt.metrics.calibration import brier_score, expected_calibration_error
from promptopt.metrics.operating_point import best_f1, recall_at_precision
from promptopt.metrics.ranking import average_precision, roc_auc


class MetricSummary(FrozenModel):
    """How well scores separate violations; every rate is over judged rows, NaN where undefined.

    Attributes:
        cases: All rows, judged or not.
        positives: Violations among them, judged or not.
        unjudged: Rows without a score.
        unjudged_positives: Violations without a score.
        auprc: Average precision.
        auroc: Area under the ROC curve.
        recall_at_precision: Highest recall at a precision of at least ``precision_floor``; 0 when out of reach.
        precision_floor: The floor.
        f1: Highest F1 over thresholds.
        brier: Brier score of the scores read as probabilities.
        ece: Expected calibration error, ten equal-width bins.
    """

    cases: int
    positives: int
    unjudged: int
    unjudged_positives: int
    auprc: Measured
    auroc: Measured
    recall_at_precision: Measured
    precision_floor: float
    f1: Measured
    brier: Measured
    ece: Measured


def summarise(labels: BoolArray, scores: FloatArray, precision_floor: float = 0.8) -> MetricSummary:
    """Measures one vector of scores.

    Args:
        labels: True for a violation; shape (n,).
        scores: Probabilities of violation; shape (n,), NaN where unjudged.
        precision_floor: In (0, 1].

    Returns:
        The summary.

    Raises:
        ConfigError: The floor is not in (0, 1].
    """
    y, s = judged_rows(labels, scores)
    positives = int(np.count_nonzero(labels))
    return MetricSummary(
        cases=len(labels),
        positives=positives,
        unjudged=len(labels) - len(y),
        unjudged_positives=positives - int(y.sum()),
        auprc=average_precision(y, s),
        auroc=roc_auc(y, s),
        recall_at_precision=recall_at_precision(y, s, precision_floor),
        precision_floor=precision_floor,
        f1=best_f1(y, s),
        brier=brier_score(y, s),
        ece=expected_calibration_error(y, s),
    )
