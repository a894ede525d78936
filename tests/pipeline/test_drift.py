"""What company does to a judge is measured when its bundle is made, and allowed when it is verified."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from promptopt.bundle.files import read_bundle, write_bundle
from promptopt.bundle.model import PromptBundle
from promptopt.bundle.runtime import BundleJudge
from promptopt.core.case import Label
from promptopt.engines.fake import FakeEngine
from promptopt.pipeline.drift import with_drift


class HalfPrecisionEngine(FakeEngine):
    """A judge whose first label gets ``step`` more logits when it is asked about one case alone."""

    def __init__(self, step: float, dtype: str = "bfloat16") -> None:
        super().__init__()
        self._step = step
        self._dtype = dtype

    def score(self, queries):
        scores = super().score(queries)
        if len(queries) == 1:
            scores.logprobs[0, 0] += self._step
            scores.logprobs[0] -= np.logaddexp.reduce(scores.logprobs[0])
        return scores

    def describe(self):
        return replace(super().describe(), dtype=self._dtype)


@pytest.fixture
def measured(tracked):
    """A direct bundle with a threshold of .5, as if it had been measured on a half-precision judge."""

    def on(engine) -> PromptBundle:
        bundle, card = tracked.outcome.bundle, engine.describe()
        point = bundle.operating_point.model_copy(update={"threshold": 0.5})
        labels = [Label.VIOLATION if case.score >= 0.5 else Label.ALLOWED for case in bundle.parity]
        parity = tuple(c.model_copy(update={"label": label}) for c, label in zip(bundle.parity, labels, strict=True))
        facts = {"engine": card.to_dict(), "fingerprint": card.fingerprint, "calibration": None}
        return bundle.model_copy(update={**facts, "operating_point": point, "parity": parity})

    return on


def test_a_judge_in_float32_is_not_asked(tracked):
    engine = HalfPrecisionEngine(0.5, "float32")
    assert with_drift(tracked.outcome.bundle, engine) is tracked.outcome.bundle
    assert engine.calls == 0
    assert tracked.outcome.bundle.tolerance == 1e-3


def test_drift_is_the_largest_difference_in_other_company_and_twice_that_is_allowed(measured, tmp_path):
    engine = HalfPrecisionEngine(0.01)
    before = measured(engine)
    bundle = with_drift(before, engine)
    scores = np.array([case.score for case in before.parity])
    moved = 1 / (1 + (1 - scores) / scores * np.exp(-0.01))
    assert bundle.drift.largest == pytest.approx(np.abs(moved - scores).max(), rel=1e-3)
    assert bundle.drift.cases == len(before.parity)
    assert bundle.tolerance == pytest.approx(2 * bundle.drift.largest)
    assert read_bundle(write_bundle(bundle, tmp_path / "bundle")) == bundle
    assert "This judge is not exact" in (tmp_path / "bundle" / "README.md").read_text()
    assert engine.queries_seen == 2 * len(before.parity)


def test_what_drifts_verifies_and_what_goes_further_does_not(measured):
    engine = HalfPrecisionEngine(0.01)
    bundle = with_drift(measured(engine), engine)
    lone = bundle.model_copy(update={"parity": (min(bundle.parity, key=lambda case: abs(case.score - 0.5)),)})
    assert BundleJudge(lone, HalfPrecisionEngine(0.01)).verify().passed
    assert not BundleJudge(lone, HalfPrecisionEngine(0.01)).verify(1e-3).passed
    assert not BundleJudge(lone, HalfPrecisionEngine(0.04)).verify().passed


def test_a_case_whose_verdict_hangs_on_its_company_is_not_pinned(measured):
    engine = HalfPrecisionEngine(0.6)
    before = measured(engine)
    bundle = with_drift(before, engine)
    gone = {case.id for case in before.parity} - {case.id for case in bundle.parity}
    assert len(gone) == bundle.drift.changed > 0
    assert bundle.drift.cases == len(before.parity)


def test_a_bundle_without_drift_keeps_its_digest(tracked):
    bundle = tracked.outcome.bundle
    assert "drift" not in bundle.model_dump(mode="json")
    assert with_drift(bundle, FakeEngine()).digest == bundle.digest


def test_a_little_drift_is_held_to_the_bound_of_exact_judges(measured):
    engine = HalfPrecisionEngine(1e-4)
    bundle = with_drift(measured(engine), engine)
    assert 0 < bundle.drift.largest < 5e-4
    assert bundle.tolerance == 1e-3
