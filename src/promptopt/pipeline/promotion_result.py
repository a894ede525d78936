"""What the promotion gate found, in full."""

from __future__ import annotations

from promptopt.core.model import FrozenModel
from promptopt.pipeline.promotion_gate import (
    Estimates,
    GateSettings,
    MetricComparison,
    PromotionOutcome,
    VerdictComparison,
)
from promptopt.pipeline.promotion_slices import SliceComparison
from promptopt.search.openings import TestOpening


class BundleFacts(FrozenModel):
    """One of the bundles compared.

    Attributes:
        folder: Where it is.
        name: Its name.
        digest: Its digest.
        candidate: Digest of its candidate.
        judge: Name of its judge.
        threshold: On calibrated scores.
        unjudged: Test cases that it left without a verdict.
        unjudged_violations: Violations among them.
    """

    folder: str
    name: str
    digest: str
    candidate: str
    judge: str
    threshold: float
    unjudged: int
    unjudged_violations: int


class Promotion(FrozenModel):
    """What the gate found.

    Attributes:
        outcome: See :mod:`promptopt.pipeline.promotion_gate`.
        promoted: The outcome is *better* and nothing stands in the way.
        reasons: What decided, the outcome's reason first; then what stands in the way.
        winner: The bundle that would be promoted.
        incumbent: The bundle in use.
        golden: Name of the golden set.
        golden_digest: Its digest.
        cases: Test cases.
        violations: Violations among them.
        paired: Cases that both have judged; rankings are compared on these.
        groups: Groups of cases.
        settings: How the gate decided.
        metrics: The gated metrics, the primary first.
        verdicts: McNemar's tests.
        slices: Critical slices.
        estimates: The difference in the primary metric and its bias.
        openings: This opening of the test, one record a candidate.
        record: The file that holds the record.
        earlier_openings: Openings of this test on record before this one.
        notes: What to know when reading the rest.
    """

    outcome: PromotionOutcome
    promoted: bool
    reasons: tuple[str, ...]
    winner: BundleFacts
    incumbent: BundleFacts
    golden: str
    golden_digest: str
    cases: int
    violations: int
    paired: int
    groups: int
    settings: GateSettings
    metrics: tuple[MetricComparison, ...]
    verdicts: tuple[VerdictComparison, ...]
    slices: tuple[SliceComparison, ...]
    estimates: Estimates
    openings: tuple[TestOpening, ...]
    record: str
    earlier_openings: int
    notes: tuple[str, ...]
