"""The promotion gate: opens the sealed test for a winner and an incumbent, on record, and says which is better."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np

from promptopt.bundle.files import read_bundle
from promptopt.bundle.model import PromptBundle
from promptopt.bundle.runtime import BundleJudge
from promptopt.core.case import GoldenCase, Label, Split
from promptopt.core.digest import digest_data
from promptopt.core.verdict import Verdict
from promptopt.engines.base import JudgeEngine
from promptopt.errors import BundleError, GoldenSetError, UserError
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.reader import read_golden_set
from promptopt.judges.bundles import open_bundle_engine
from promptopt.metrics.arrays import BoolArray
from promptopt.pipeline.known_cases import known_to
from promptopt.pipeline.promotion_gate import (
    PRIMARY,
    GateSettings,
    Pair,
    PromotionOutcome,
    Side,
    compare_metrics,
    compare_verdicts,
    estimate,
    outcome_of,
)
from promptopt.pipeline.promotion_reasons import reasons_for
from promptopt.pipeline.promotion_result import BundleFacts, Promotion
from promptopt.pipeline.promotion_slices import RecallFloor, check_floors, compare_slices
from promptopt.search.openings import OpeningRecord, TestOpening

OPENINGS_FILE = "test_openings.jsonl"
DEFAULT_REASON = "promotion gate"


@dataclass(frozen=True, slots=True)
class PromotionRequest:
    """What to compare.

    Attributes:
        winner: Folder of the bundle that would be promoted.
        incumbent: Folder of the bundle in use.
        golden: Folder of the golden set.
        settings: How the gate decides.
        floors: Recall that the winner must reach on slices.
        reason: Why the test is opened; for the record.
        runs_dir: Folder of runs whose record of openings is used; None for that of the winner's run, else of the
            incumbent's, else ``runs``.
        any_judge: Whether other judges than those that were measured will do.
    """

    winner: Path
    incumbent: Path
    golden: Path
    settings: GateSettings = field(default_factory=GateSettings)
    floors: tuple[RecallFloor, ...] = ()
    reason: str = DEFAULT_REASON
    runs_dir: Path | None = None
    any_judge: bool = False


def promote(request: PromotionRequest, on_phase: Callable[[str], None] = lambda _: None) -> Promotion:
    """Compares two bundles on a sealed test.

    Inputs that do not fit are refused before the test is opened, and the opening is on record before a case of it is
    judged. Where each bundle has a judge of its own, the second is loaded when the first is done: should that fail, the
    same command goes on later with the same opening.

    Args:
        request: What to compare.
        on_phase: Told in a few words when something begins that takes time.

    Returns:
        What the gate found.

    Raises:
        UserError: An input is missing or does not fit the others, or the record cannot be written.
    """
    winner, incumbent = read_bundle(request.winner), read_bundle(request.incumbent)
    golden = read_golden_set(request.golden)
    cases = golden.split(Split.TEST)
    _check(request, winner, incumbent, golden)
    check_floors(request.floors, cases)
    opened = _Opening(request, winner, incumbent, golden)
    told = _judge_both(request, winner, incumbent, cases, opened, on_phase)
    on_phase("comparing")
    sides = [_side(verdicts) for verdicts in told]
    labels = np.array([case.is_violation for case in cases], dtype=np.bool_)
    pair = Pair(labels, [case.group for case in cases], incumbent=sides[0], winner=sides[1])
    alpha = request.settings.alpha
    metrics, verdicts = compare_metrics(pair, request.settings), compare_verdicts(pair)
    slices = compare_slices(cases, (pair.incumbent.flagged, pair.winner.flagged), request.floors, alpha)
    outcome = outcome_of(metrics, alpha)
    groups = len(set(pair.groups))
    reasons, obstacles = reasons_for(outcome, metrics, verdicts, slices, request.settings, groups)
    return Promotion(
        outcome=outcome,
        promoted=outcome is PromotionOutcome.BETTER and not obstacles,
        reasons=(*reasons, *obstacles),
        winner=_facts(request.winner, winner, pair.winner, labels),
        incumbent=_facts(request.incumbent, incumbent, pair.incumbent, labels),
        golden=golden.name,
        golden_digest=golden.digest,
        cases=len(cases),
        violations=int(labels.sum()),
        paired=int((pair.incumbent.judged & pair.winner.judged).sum()),
        groups=groups,
        settings=request.settings,
        metrics=metrics,
        verdicts=verdicts,
        slices=slices,
        estimates=estimate(metrics, _search_difference(winner, incumbent), alpha),
        openings=opened.openings,
        record=str(opened.path),
        earlier_openings=opened.earlier,
        notes=tuple(_notes(golden, winner=winner, incumbent=incumbent)),
    )


class _Opening:
    """One opening of the test: the same question asked again is the same opening."""

    def __init__(
        self, request: PromotionRequest, winner: PromptBundle, incumbent: PromptBundle, golden: GoldenSet
    ) -> None:
        settings = request.settings
        self._why = request.reason.strip() or DEFAULT_REASON
        asked = [winner.digest, incumbent.digest, settings.alpha, settings.precision_floor, self._why]
        self._sweep = f"promote {winner.name} over {incumbent.name} {digest_data(asked)[:16]}"
        self._candidates = tuple(dict.fromkeys([incumbent.candidate, winner.candidate]))
        self._golden = golden.digest
        beside = [folder.resolve().parent.parent / OPENINGS_FILE for folder in (request.winner, request.incumbent)]
        if request.runs_dir is not None:
            self.path = request.runs_dir / OPENINGS_FILE
        else:
            self.path = next((path for path in beside if path.is_file()), Path("runs") / OPENINGS_FILE)
        self.earlier = self._count_earlier([self.path, *beside], (winner, incumbent))
        self.openings: tuple[TestOpening, ...] = ()

    def record(self) -> None:
        """Puts the opening on record.

        Raises:
            UserError: The record cannot be written.
        """
        record = OpeningRecord(self.path)
        try:
            self.openings = tuple(
                record.open(why=self._why, sweep=self._sweep, candidate=candidate, golden=self._golden)
                for candidate in self._candidates
            )
        except OSError as cause:
            raise UserError(
                f"the opening of the test cannot be recorded ({cause.strerror}), so the test stays sealed",
                where=self.path,
                remedy="set --runs-dir to a folder that can be written",
            ) from cause

    def _count_earlier(self, paths: Sequence[Path], bundles: Sequence[PromptBundle]) -> int:
        """Openings of this test by anyone else, in any record at hand or in the bundles, each counted once."""
        found: set[tuple[datetime, str, str]] = set()
        for path in paths:
            openings = OpeningRecord(path).all(self._golden)
            found |= {(o.opened, o.who, o.candidate) for o in openings if o.sweep != self._sweep}
        for bundle in bundles:
            if bundle.golden.digest == self._golden:
                found |= {(o.opened, o.who, o.candidate) for o in bundle.openings}
        return len(found)


def _judge_both(
    request: PromotionRequest,
    winner: PromptBundle,
    incumbent: PromptBundle,
    cases: Sequence[GoldenCase],
    opened: _Opening,
    on_phase: Callable[[str], None],
) -> list[list[tuple[Verdict, float]]]:
    """What the incumbent and the winner say; one engine at a time is open, and the same one serves both if it can."""
    texts = [case.item for case in cases]
    both = ((incumbent, request.incumbent), (winner, request.winner))
    shared = winner.judge == incumbent.judge
    told = []
    for turn in [both] if shared else [(bundle,) for bundle in both]:
        on_phase("loading the judge")
        with closing(open_bundle_engine(turn[0][0].judge, turn[0][1])) as engine:
            judges = [_runtime(bundle, engine, request.any_judge) for bundle, _ in turn]
            opened.record()
            for judge in judges:
                on_phase(f"judging the sealed test with {judge.bundle.name}")
                told.append(judge.judge_scored(texts))
    return told


def _runtime(bundle: PromptBundle, engine: JudgeEngine, any_judge: bool) -> BundleJudge:
    judge = BundleJudge(bundle, engine)
    if not any_judge:
        judge.check_engine()
    return judge


def _check(request: PromotionRequest, winner: PromptBundle, incumbent: PromptBundle, golden: GoldenSet) -> None:
    if winner.domain != incumbent.domain:
        raise BundleError(
            f"the winner judges {winner.domain}, the incumbent {incumbent.domain}",
            where=request.winner,
            remedy="compare bundles of one domain",
        )
    if golden.domain != winner.domain:
        raise GoldenSetError(
            f"the golden set is of domain {golden.domain}, the bundles judge {winner.domain}",
            where=request.golden,
            remedy="give a golden set of the bundles' domain",
        )
    if winner.digest == incumbent.digest:
        raise BundleError(
            "winner and incumbent are the same bundle",
            where=request.winner,
            remedy="name two, so that the test is not opened for nothing",
        )
    cases = golden.split(Split.TEST)
    if all(case.is_violation for case in cases):
        raise GoldenSetError(
            f"all {len(cases)} cases of the test split are violations",
            where=request.golden,
            remedy="add allowed cases: precision cannot be measured without them",
        )
    for bundle, folder in ((winner, request.winner), (incumbent, request.incumbent)):
        if known := known_to(bundle, cases):
            raise BundleError(
                f"{len(known)} of the {len(cases)} test cases are known to the bundle's search, {known[0]} first",
                where=folder,
                remedy="compare on a test split that neither search has seen",
            )


def _side(told: Sequence[tuple[Verdict, float]]) -> Side:
    return Side(
        scores=np.array([score if verdict.is_judged else np.nan for verdict, score in told], dtype=np.float64),
        flagged=np.array([verdict.label is Label.VIOLATION for verdict, _ in told], dtype=np.bool_),
        judged=np.array([verdict.is_judged for verdict, _ in told], dtype=np.bool_),
    )


def _facts(folder: Path, bundle: PromptBundle, side: Side, labels: BoolArray) -> BundleFacts:
    return BundleFacts(
        folder=str(folder),
        name=bundle.name,
        digest=bundle.digest,
        candidate=bundle.candidate,
        judge=str(bundle.judge.get("name", "?")),
        threshold=bundle.operating_point.threshold,
        unjudged=int((~side.judged).sum()),
        unjudged_violations=int((~side.judged & labels).sum()),
    )


def _search_difference(winner: PromptBundle, incumbent: PromptBundle) -> float:
    """AUPRC on the search split, each as its own sweep measured it; NaN where the two are not comparable."""
    found = [bundle.scores.get(Split.SEARCH) for bundle in (winner, incumbent)]
    points = [scores.metrics[PRIMARY].point for scores in found if scores is not None and PRIMARY in scores.metrics]
    if len(points) < len(found) or winner.golden.digest != incumbent.golden.digest:
        return float("nan")
    return points[0] - points[1]


def _notes(golden: GoldenSet, **bundles: PromptBundle) -> Iterator[str]:
    for role, bundle in bundles.items():
        if bundle.golden.digest != golden.digest:
            yield (
                f"the {role} was made on another golden set ({bundle.golden.name}, {bundle.golden.digest[:12]}): its "
                "search may have seen relatives of these test cases"
            )
