"""The summary counts everything once and holds the same numbers as the single metrics."""

from __future__ import annotations

import numpy as np

from promptopt.core.digest import digest_data
from promptopt.metrics.calibration import brier_score, expected_calibration_error
from promptopt.metrics.operating_point import choose_threshold, recall_at_precision
from promptopt.metrics.ranking import average_precision, roc_auc
from promptopt.metrics.summary import MetricSummary, summarise


def test_summary_holds_the_single_metrics_and_counts_the_unjudged():
    random = np.random.default_rng(0)
    labels, scores = random.random(80) < 0.3, random.random(80)
    scores[:7] = np.nan
    found = summarise(labels, scores, 0.4)
    assert (found.cases, found.positives, found.unjudged) == (80, int(labels.sum()), 7)
    assert found.unjudged_positives == int(labels[:7].sum())
    assert found.auprc == average_precision(labels, scores)
    assert found.auroc == roc_auc(labels, scores)
    assert found.recall_at_precision == recall_at_precision(labels, scores, 0.4)
    assert found.f1 == choose_threshold(labels, scores, "f1").f1
    assert found.brier == brier_score(labels, scores)
    assert found.ece == expected_calibration_error(labels, scores)


def test_summary_of_nothing_can_be_stored_and_read_back():
    found = summarise(np.array([], dtype=bool), np.array([]), 0.8)
    assert found.cases == 0
    assert digest_data(found)
    assert np.isnan(MetricSummary.model_validate_json(found.model_dump_json()).auprc)
