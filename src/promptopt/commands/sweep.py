"""``promptopt sweep``."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.console import Console

from promptopt.commands.output import console, error_console, print_json, table, with_interval
from promptopt.commands.progress import RichDisplay
from promptopt.config import load_config
from promptopt.core.case import Split
from promptopt.pipeline.outcome import SweepOutcome
from promptopt.pipeline.run_sweep import run_sweep
from promptopt.pipeline.summary import SweepSummary, summarise_sweep

_ROWS = (
    ("AUPRC", "auprc"),
    ("AUROC", "auroc"),
    ("recall at precision {floor:g}", "recall_at_precision"),
    ("precision at threshold", "precision"),
    ("recall at threshold", "recall"),
    ("F1 at threshold", "f1"),
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


def print_outcome(outcome: SweepOutcome, summary: SweepSummary, out: Console) -> None:
    """The seed prompt against the winner on the sealed test, what was paid, and where everything is."""
    seed, winner = summary.seed_prompt.reports[Split.TEST], summary.winner.reports[Split.TEST]
    shown = table(
        f"{summary.domain}, sealed test",
        "seed prompt",
        "winner",
        title=f"\nSealed test: {winner.cases} cases, {winner.positives} violations, 95% intervals",
    )
    for label, metric in _ROWS:
        name = label.format(floor=summary.precision_floor)
        shown.add_row(name, with_interval(seed.metrics[metric]), with_interval(winner.metrics[metric]))
    shown.add_row(
        "tokens per case", _tokens(summary.seed_prompt.tokens_per_case), _tokens(summary.winner.tokens_per_case)
    )
    if seed.unjudged or winner.unjudged:
        shown.add_row("no verdict", str(seed.unjudged), str(winner.unjudged))
    out.print(shown)
    out.print(f"\n{_conclusion(summary)}")
    share = summary.judgements / summary.judgements_full_grid if summary.judgements_full_grid else math.nan
    out.print(
        f"{summary.candidates} candidates, {summary.complete} of them on every search case; "
        f"{summary.judgements:,} judgements made, calibration and test included ({share:.0%} of the full search grid "
        f"of {summary.judgements_full_grid:,}); {summary.tokens_computed:,} tokens in {summary.engine_seconds:.0f} s. "
        f"Stopped by: {summary.stopped_by}."
    )
    out.print(f"This golden set's test split has been opened {summary.test_openings} times from this folder of runs.\n")
    _print_places(outcome, out)


def _print_places(outcome: SweepOutcome, out: Console) -> None:
    out.print(f"bundle   {outcome.bundle_folder}", soft_wrap=True)
    out.print(f"plots    {outcome.plots_folder}/*.html", soft_wrap=True)
    if outcome.tracking_uri:
        out.print(f"MLflow   {outcome.run_url or outcome.tracking_uri}", soft_wrap=True)
    out.print("\nNext:")
    out.print(f"  promptopt bundle verify {outcome.bundle_folder}", soft_wrap=True)
    out.print(f"  promptopt judge --bundle {outcome.bundle_folder} --in texts.jsonl --out judged.jsonl", soft_wrap=True)
    if outcome.view_command:
        out.print(f"  {outcome.view_command}", soft_wrap=True)


def _conclusion(summary: SweepSummary) -> str:
    gap = summary.difference
    size = f"{gap.point:+.3f} AUPRC [{gap.low:+.3f}, {gap.high:+.3f}]"
    if summary.winner.candidate == summary.seed_prompt.candidate:
        return "Nothing beat the seed prompt in the search; the seed prompt is exported."
    if gap.low > 0:
        return f"The winner is better than the seed prompt on the sealed test: {size}."
    if gap.high < 0:
        return f"The winner is worse than the seed prompt on the sealed test: {size}. Do not deploy it."
    return f"No significant difference on the sealed test: {size}. More test cases would tell."


def _tokens(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
