"""The threshold of the largest Youden's J."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt.metrics.youden import best_youden


def test_by_hand():
    labels = np.array([True, True, False, True, False, False])
    scores = np.array([0.9, 0.8, 0.6, 0.4, 0.2, np.nan])
    assert best_youden(labels, scores) == pytest.approx((0.7, 2 / 3))
    assert best_youden(~labels, scores) == (0.5, 0.0)
    assert best_youden(labels, np.full(6, 0.3)) == (0.5, 0.0)
    assert best_youden(np.ones(6, dtype=bool), scores) == (0.5, 0.0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 20)), min_size=2, max_size=30))
def test_no_other_threshold_does_better(rows):
    labels = np.array([label for label, _ in rows])
    scores = np.array([score / 20 for _, score in rows])
    threshold, best = best_youden(labels, scores)
    if labels.all() or not labels.any():
        assert best == 0
        return
    tried = [np.mean(scores[labels] >= t) - np.mean(scores[~labels] >= t) for t in np.arange(0.01, 1, 0.01)]
    assert best == pytest.approx(max(0.0, *tried))
    if best:
        assert np.mean(scores[labels] >= threshold) - np.mean(scores[~labels] >= threshold) == pytest.approx(best)
