"""``promptopt sweep``."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from promptopt.commands.output import console, count, error_console, print_json, program, table, with_interval
from promptopt.commands.progress import RichDisplay
from promptopt.config import load_config
from promptopt.core.case import Split
from promptopt.pipeline.outcome import SweepOutcome
from promptopt.pipeline.run_sweep import run_sweep
from promptopt.pipeline.summary import SweepSummary, summarise_sweep
from promptopt.search.finalists import Finalist
from promptopt.search.space import JUDGE

_ROWS = (
    ("AUPRC", "auprc"),
    ("AUROC", "auroc"),
    ("recall at precision {floor:g}", "recall_at_precision"),
    ("precision at threshold", "precision"),
    ("recall at threshold", "recall"),
    ("F1 at threshold", "f1"),
    ("Brier score", "brier"),
    ("calibration error", "ece"),
)


def sweep(overrides: Sequence[str], as_json: bool) -> None:
    """Runs or resumes a sweep and prints what came of it."""
    config = load_config(overrides)
    with RichDisplay(error_console()) as display:
        outcome = run_sweep(config, display)
    summary = summarise_sweep(outcome)
    if as_json:
        print_json(summary)
    else:
        print_outcome(outcome, summary, console())


_LOW_RECALL = 0.2


def print_outcome(outcome: SweepOutcome, summary: SweepSummary, out: Console) -> None:
    """The seed prompt against the winner on the sealed test, what was paid, and where everything is."""
    seed, winner = summary.seed_prompt.reports[Split.TEST], summary.winner.reports[Split.TEST]
    violations = count(winner.positives, "violation")
    out.print(f"\n[bold]Sealed test of {summary.domain}[/]: {winner.cases} cases, {violations}, 95% intervals\n")
    shown = table("", "seed prompt", "winner")
    if JUDGE in summary.winner.choices:
        shown.add_row("judge", *(escape(str(c.choices[JUDGE])) for c in (summary.seed_prompt, summary.winner)))
    for label, metric in _ROWS:
        name = label.format(floor=summary.precision_floor)
        shown.add_row(name, with_interval(seed.metrics[metric]), with_interval(winner.metrics[metric]))
    shown.add_row(
        "tokens per case", _tokens(summary.seed_prompt.tokens_per_case), _tokens(summary.winner.tokens_per_case)
    )
    if summary.winner.seconds_per_case is not None:
        costs = summary.seed_prompt.seconds_per_case, summary.winner.seconds_per_case
        shown.add_row("seconds per case", *("-" if cost is None else f"{cost:.3g}" for cost in costs))
    if seed.unjudged or winner.unjudged:
        shown.add_row("no verdict", str(seed.unjudged), str(winner.unjudged))
    out.print(shown)
    out.print(f"\n{_conclusion(summary)}")
    _print_point(outcome.comparison.winner, out)
    for name, lacking in outcome.comparison.winner.record.constraints.items():
        if lacking > 0:
            out.print(f"The winner breaks a constraint on the search cases, as every other: {name} by {lacking:.3f}.")
    _print_costs(summary, out)
    _print_places(outcome, out)


def _print_point(winner: Finalist, out: Console) -> None:
    point, certificate, band = winner.operating_point, winner.operation.certificate, winner.operation.band
    if certificate is not None and certificate.feasible:
        out.print(
            f"Certified on the calibration split: {certificate.kind} of at least {certificate.floor:g} on new cases, "
            f"with confidence {1 - certificate.delta:g} ({certificate.misses} misses in {certificate.cases})."
        )
    elif band is not None:
        out.print(
            f"People judge the scores between {'0' if band.low is None else f'{band.low:.4g}'} and "
            f"{'1' if band.high is None else f'{band.high:.4g}'} (before calibration): "
            f"{escape(with_interval(band.escalated))} of independent calibration cases."
        )
        what = {"recall": "violations that are flagged or sent to people", "precision": "flagged cases that violate"}
        for end in (band.recall, band.precision):
            if end.feasible:
                out.print(f"Certified: {end.floor:.0%} {what[end.kind]}, with confidence {1 - end.delta:g}.")
            else:
                out.print(f"Not certified: {escape(end.note)}.")
    elif not point.feasible:
        lacking = "its criterion" if certificate is None else "its certificate"
        out.print(f"The winner misses {lacking} on the calibration split: {escape(point.note)}.")
    caught = winner.reports[Split.CALIBRATION].metrics["recall"].point
    if caught < _LOW_RECALL:
        out.print(
            f"At its threshold the winner catches {caught:.0%} of the calibration split's violations, however well it "
            "ranks; lower search.objective.precision_floor, or set search.operating_point.criterion=f1."
        )


def _print_costs(summary: SweepSummary, out: Console) -> None:
    share = summary.judgements / summary.judgements_full_grid if summary.judgements_full_grid else math.nan
    out.print(
        f"{count(summary.candidates, 'candidate')}, {summary.complete} of them on every search case; "
        f"{summary.judgements:,} judgements made, calibration and test included ({share:.0%} of the full search grid "
        f"of {summary.judgements_full_grid:,}); {summary.tokens_computed:,} tokens in {summary.engine_seconds:.0f} s. "
        f"Stopped by: {summary.stopped_by}."
    )
    times = "once" if summary.test_openings == 1 else f"{summary.test_openings} times"
    out.print(f"This golden set's test split has been opened {times} from this folder of runs.\n")


def _print_places(outcome: SweepOutcome, out: Console) -> None:
    _print_line(f"bundle   {outcome.bundle_folder}", out)
    _print_line(f"plots    {outcome.plots_folder}/*.html", out)
    if outcome.tracking_uri:
        _print_line(f"MLflow   {outcome.run_url or outcome.tracking_uri}", out)
    bundle = shlex.quote(str(outcome.bundle_folder))
    out.print("\n[bold]Next[/]")
    out.print("Check that the bundle gives the same verdicts:")
    _print_line(f"  {program()} bundle verify {bundle}", out)
    out.print('Judge texts of your own (JSONL with a "text" in each line, CSV or Parquet):', markup=False)
    _print_line(f"  {program()} judge --bundle {bundle} --in texts.jsonl --out judged.jsonl", out)
    if outcome.view_command:
        out.print("See every trial, prompt and plot in a browser:")
        mlflow = program("mlflow")
        _print_line(f"  {outcome.view_command.replace(' mlflow ', f' {mlflow} ', 1)}", out)


def _print_line(line: str, out: Console) -> None:
    """Prints a line that is for copying: whole, whatever the width."""
    out.print(line, soft_wrap=True, markup=False)


def _conclusion(summary: SweepSummary) -> str:
    if summary.jury_gap is None or summary.jury_gap >= 0:
        return _comparison(summary)
    return (
        f"A jury of the best prompts does worse than the seed prompt on the search cases ({summary.jury_gap:+.3f}): "
        f"one prompt is exported. {_comparison(summary)}"
    )


def _comparison(summary: SweepSummary) -> str:
    gap = summary.difference
    size = f"{with_interval(gap, '+')} AUPRC"
    if summary.winner.candidate == summary.seed_prompt.candidate:
        if summary.lead is None:
            return "Nothing beat the seed prompt in the search; the seed prompt is exported."
        led = with_interval(summary.lead.difference, "+")
        jury = "" if summary.jury_gap is not None else "search.winner.jury=3 pools the best prompts; "
        return (
            f"The best prompt led the seed prompt by {escape(led)} on the search cases, which chance explains: the "
            f"seed prompt is exported. More search cases would tell; {jury}search.winner.seed_alpha=null takes the "
            "best whatever its lead."
        )
    if gap.low > 0:
        return f"The winner ranks the sealed test better than the seed prompt: {escape(size)}."
    if gap.high < 0:
        return f"The winner ranks the sealed test worse than the seed prompt: {escape(size)}. Do not deploy it."
    return f"No significant difference on the sealed test: {escape(size)}. More test cases would tell."


def _tokens(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
