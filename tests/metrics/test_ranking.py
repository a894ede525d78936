"""Ranking metrics agree with scikit-learn, leave the unjudged out and never raise on empty classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as peer

from promptopt.metrics.arrays import judged_rows
from promptopt.metrics.ranking import average_precision, precision_recall_curve, roc_auc

ROWS = st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])), min_size=2, max_size=40)


def columns(rows):
    return np.array([r[0] for r in rows], dtype=bool), np.array([r[1] for r in rows], dtype=float)


@given(ROWS.filter(lambda rows: 0 < sum(r[0] for r in rows) < len(rows)))
def test_agrees_with_scikit_learn_including_ties(rows):
    labels, scores = columns(rows)
    assert average_precision(labels, scores) == pytest.approx(peer.average_precision_score(labels, scores))
    assert roc_auc(labels, scores) == pytest.approx(peer.roc_auc_score(labels, scores))
    expected = peer.precision_recall_curve(labels, scores)
    for mine, theirs in zip(precision_recall_curve(labels, scores), expected, strict=True):
        np.testing.assert_allclose(mine, theirs)


@given(ROWS, st.integers(0, 10))
def test_unjudged_rows_change_nothing(rows, unjudged):
    labels, scores = columns(rows)
    more_labels = np.concatenate([np.arange(unjudged) % 2 == 0, labels])
    more_scores = np.concatenate([np.full(unjudged, np.nan), scores])
    assert average_precision(more_labels, more_scores) == pytest.approx(average_precision(labels, scores), nan_ok=True)
    assert roc_auc(more_labels, more_scores) == pytest.approx(roc_auc(labels, scores), nan_ok=True)


@pytest.mark.parametrize("labels", [[], [False, False]])
def test_nothing_to_find_is_nan(labels):
    labels = np.array(labels, dtype=bool)
    scores = np.linspace(0, 1, len(labels))
    assert math.isnan(average_precision(labels, scores))
    assert math.isnan(roc_auc(labels, scores))
    assert np.isnan(precision_recall_curve(labels, scores).recall).all()


def test_all_rows_unjudged_is_nan():
    labels, scores = np.array([True, False]), np.array([np.nan, np.nan])
    assert math.isnan(average_precision(labels, scores))
    assert len(precision_recall_curve(labels, scores).thresholds) == 0


def test_only_positives_has_no_roc_but_perfect_precision():
    labels, scores = np.array([True, True]), np.array([0.2, 0.9])
    assert average_precision(labels, scores) == 1.0
    assert math.isnan(roc_auc(labels, scores))


@pytest.mark.parametrize("scores", [[0.1], [[0.1, 0.2]], [np.inf, 0.1]])
def test_unfit_arrays_are_refused(scores):
    with pytest.raises(ValueError, match="scores must"):
        judged_rows(np.array([True, False]), np.array(scores))
