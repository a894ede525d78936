"""Score stores on SQLite, and on a PostgreSQL server that lives as long as the tests."""

from __future__ import annotations

import numpy as np
import pytest

from promptopt.scores.store import ScoreStore, StoredScore


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """A database that does not exist yet (SQLite) or is empty."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new' / 'scores.db'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def store(url):
    with_scores = ScoreStore(url)
    yield with_scores
    with_scores.close()


@pytest.fixture(scope="session")
def score():
    """A stored score from its log-probabilities."""

    def make(*logprobs, dropped=0):
        return StoredScore(np.array(logprobs, dtype=np.float32), dropped)

    return make
