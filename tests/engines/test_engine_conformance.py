from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from promptopt.engines.base import LabelScores
from promptopt.engines.fake import FakeEngine
from promptopt.engines.local import LocalEngine
from promptopt.testing import engine as kit


@pytest.mark.parametrize("check", kit.CHECKS, ids=lambda check: check.__name__)
def test_fake_engine(check: kit.Check) -> None:
    check(FakeEngine(seed=3), 0.0)


@pytest.mark.parametrize("packed", [True, False], ids=["packed", "padded"])
@pytest.mark.parametrize("check", kit.CHECKS, ids=lambda check: check.__name__)
def test_local_engine(check: kit.Check, packed: bool, make_engine: Callable[..., LocalEngine]) -> None:
    check(make_engine(packed=packed, batch_tokens=96), 1e-4)


class _Broken(FakeEngine):
    """A fake engine that returns its rows in reverse."""

    def score(self, queries):  # type: ignore[no-untyped-def]
        scores = super().score(queries)
        return LabelScores(scores.logprobs[::-1], scores.unjudged, scores.dropped_tokens, scores.usage)


def test_the_kit_catches_rows_out_of_order() -> None:
    with pytest.raises(AssertionError, match="shuffled"):
        kit.check_batching(_Broken(), 1e-4)


def test_the_kit_catches_unjudged_rows_with_numbers() -> None:
    scores = LabelScores(np.zeros((1, 2), dtype=np.float32), {0: "because"})
    with pytest.raises(AssertionError, match="not NaN"):
        kit.check_unjudged(scores, {0})
    with pytest.raises(AssertionError, match="unjudged"):
        kit.check_unjudged(scores, set())
