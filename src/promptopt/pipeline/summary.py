"""A finished sweep in numbers, for ``--json``, for the run's folder and for ``promptopt compare``."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from promptopt.core.addresses import without_credentials
from promptopt.core.candidate import Choice
from promptopt.core.case import Split
from promptopt.core.model import FrozenModel
from promptopt.errors import UserError
from promptopt.metrics.bands import Band
from promptopt.metrics.certificates import Certificate
from promptopt.metrics.intervals import Interval
from promptopt.pipeline.files import write_text
from promptopt.pipeline.outcome import SweepOutcome
from promptopt.search.finalists import Finalist
from promptopt.search.space import JUDGE
from promptopt.search.split_report import SplitReport
from promptopt.search.winner import Lead

SUMMARY_FILE = "summary.json"


class CandidateSummary(FrozenModel):
    """A candidate in the final round.

    Attributes:
        candidate: Digest.
        trial: Number of its trial.
        choices: What it chose in each dimension.
        demos: Ids of its demonstrations.
        tokens_per_case: Tokens of one more case.
        seconds_per_case: Seconds of one more case; None where the sweep did not ask for them.
        threshold: On calibrated scores.
        feasible: Whether the threshold keeps what was asked for on the calibration split.
        certificate: What is certain about it, or why nothing is; None where none was asked for.
        band: Scores that go to people, before calibration; None where there is no band.
        reports: What it scores, by split.
    """

    candidate: str
    trial: int
    choices: dict[str, Choice]
    demos: tuple[str, ...]
    tokens_per_case: float | None
    seconds_per_case: float | None = None
    threshold: float
    feasible: bool
    certificate: Certificate | None = None
    band: Band | None = None
    reports: dict[Split, SplitReport]


class SweepSummary(FrozenModel):
    """A finished sweep.

    Attributes:
        name: Name of the sweep.
        domain: Risk domain.
        judge: Name of the winner's judge.
        golden: Name of the golden set.
        golden_digest: Its digest.
        seed: Seed of the sweep.
        precision_floor: Precision that recall is measured at.
        candidates: Distinct candidates tried.
        complete: Those scored on every search case.
        judgements: Judgements paid for.
        judgements_full_grid: Judgements of scoring every candidate on every search case.
        tokens_computed: Tokens through the model.
        engine_seconds: Seconds inside the engine.
        stopped_by: What ended the search.
        seed_prompt: The seed prompt.
        winner: The winner.
        difference: AUPRC of the winner minus that of the seed prompt on the test split, paired.
        lead: How far the best candidate led the seed prompt on the search cases; None where nothing was asked of it.
        jury_gap: A jury's objective minus the seed prompt's on the search cases; below 0 one prompt won in its place.
        test_openings: How often this golden set's test split has been opened, over all sweeps in the folder of runs.
        bundle: Folder of the bundle.
        plots: Folder of the figures.
        tracking: Tracking store.
    """

    name: str
    domain: str
    judge: str
    golden: str
    golden_digest: str
    seed: int
    precision_floor: float
    candidates: int
    complete: int
    judgements: int
    judgements_full_grid: int
    tokens_computed: int
    engine_seconds: float
    stopped_by: str
    seed_prompt: CandidateSummary
    winner: CandidateSummary
    difference: Interval
    lead: Lead | None = None
    jury_gap: float | None = None
    test_openings: int
    bundle: str
    plots: str
    tracking: str | None


def summarise_sweep(outcome: SweepOutcome) -> SweepSummary:
    """The outcome in numbers."""
    config, result, comparison = outcome.config, outcome.result, outcome.comparison
    distinct = [record for record in result.records if record.repeats is None]
    return SweepSummary(
        name=config.name,
        domain=config.domain.name,
        judge=str(comparison.winner.record.candidate.choices.get(JUDGE, config.judge.name)),
        golden=outcome.bundle.golden.name,
        golden_digest=outcome.bundle.golden.digest,
        seed=config.seed,
        precision_floor=config.search.objective.precision_floor,
        candidates=len(distinct),
        complete=len(result.ranked),
        judgements=outcome.spent.judgements,
        judgements_full_grid=result.judgements_in_full,
        tokens_computed=outcome.spent.tokens_computed,
        engine_seconds=outcome.spent.seconds,
        stopped_by=result.stopped_by,
        seed_prompt=_candidate(comparison.seed),
        winner=_candidate(comparison.winner),
        difference=comparison.difference,
        lead=comparison.lead,
        jury_gap=comparison.jury_gap,
        test_openings=len(comparison.openings),
        bundle=str(outcome.bundle_folder),
        plots=str(outcome.plots_folder),
        tracking=without_credentials(outcome.tracking_uri) if outcome.tracking_uri else None,
    )


def write_summary(summary: SweepSummary, folder: Path) -> None:
    """Writes the summary into a run's folder, whole or not at all.

    Raises:
        UserError: The file system refuses.
    """
    write_text(folder / SUMMARY_FILE, summary.model_dump_json(indent=2) + "\n")


def read_summary(folder: Path) -> SweepSummary:
    """Reads a run's summary.

    Raises:
        UserError: There is no finished sweep in the folder, or another version wrote it.
    """
    path = folder / SUMMARY_FILE
    if not path.is_file():
        raise UserError(
            "no finished sweep here",
            where=folder,
            remedy="name a run's folder or its name under runs_dir, or finish it",
        )
    return parse_summary(path.read_bytes(), path)


def parse_summary(data: str | bytes, where: str | Path) -> SweepSummary:
    """A summary from its JSON.

    Args:
        data: What :func:`write_summary` wrote.
        where: Where it comes from, for the error.

    Raises:
        UserError: It is not the summary of a sweep of this version.
    """
    try:
        return SweepSummary.model_validate_json(data)
    except ValidationError as cause:
        raise UserError(
            "the summary of the sweep does not fit this version of promptopt",
            where=where,
            remedy="run the sweep's command again: it judges nothing twice and writes a new one",
        ) from cause


def _candidate(finalist: Finalist) -> CandidateSummary:
    return CandidateSummary(
        candidate=finalist.digest,
        trial=finalist.record.number,
        choices=finalist.record.candidate.choices,
        demos=finalist.record.candidate.demos,
        tokens_per_case=finalist.record.metrics.get("tokens_per_case"),
        seconds_per_case=finalist.record.metrics.get("seconds_per_case"),
        threshold=finalist.operating_point.threshold,
        feasible=finalist.operating_point.feasible,
        certificate=finalist.operation.certificate,
        band=finalist.operation.band,
        reports=finalist.reports,
    )
