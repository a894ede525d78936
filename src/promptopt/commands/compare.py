"""``promptopt compare``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from promptopt.commands.output import console, print_json, table, with_interval
from promptopt.core.case import Split
from promptopt.errors import UserError
from promptopt.pipeline.summary import SUMMARY_FILE, SweepSummary, read_summary

_METRICS = ("auprc", "recall_at_precision", "precision", "recall", "f1")


def compare(runs: Sequence[str], runs_dir: Path, tracking_uri: str | None, as_json: bool) -> None:
    """Prints finished sweeps side by side."""
    summaries = [_find(run, runs_dir, tracking_uri) for run in runs]
    if as_json:
        print_json([summary.model_dump(mode="json") for summary in summaries])
        return
    out = console()
    shown = table("sealed test", *[summary.name for summary in summaries])
    shown.add_row("domain", *[summary.domain for summary in summaries])
    shown.add_row("judge", *[summary.judge for summary in summaries])
    shown.add_row("golden set", *[f"{summary.golden} ({summary.golden_digest[:8]})" for summary in summaries])
    for metric in _METRICS:
        cells = [with_interval(summary.winner.reports[Split.TEST].metrics[metric]) for summary in summaries]
        shown.add_row(metric.replace("_", " "), *cells)
    shown.add_row(
        "seed prompt's auprc", *[with_interval(s.seed_prompt.reports[Split.TEST].metrics["auprc"]) for s in summaries]
    )
    shown.add_row("gain over seed prompt", *[with_interval(summary.difference) for summary in summaries])
    shown.add_row("tokens per case", *[f"{s.winner.tokens_per_case or 0:.0f}" for s in summaries])
    shown.add_row("candidates", *[str(summary.candidates) for summary in summaries])
    shown.add_row("judgements", *[f"{summary.judgements:,}" for summary in summaries])
    for name in _dimensions(summaries):
        shown.add_row(f"winner's {name}", *[str(s.winner.choices.get(name, "-")) for s in summaries])
    shown.add_row("winner's demos", *[str(len(summary.winner.demos)) for summary in summaries])
    out.print(shown)
    if len({summary.golden_digest for summary in summaries}) > 1:
        out.print("\nThe golden sets differ: figures of different columns are not comparable.")


def _dimensions(summaries: Sequence[SweepSummary]) -> list[str]:
    """Dimensions in which the winners differ."""
    names = dict.fromkeys(name for summary in summaries for name in summary.winner.choices)
    return [name for name in names if len({s.winner.choices.get(name) for s in summaries}) > 1]


def _find(run: str, runs_dir: Path, tracking_uri: str | None) -> SweepSummary:
    for folder in (Path(run), runs_dir / run):
        if (folder / SUMMARY_FILE).is_file():
            return read_summary(folder)
    if len(run) == 32 and all(c in "0123456789abcdef" for c in run):
        return _from_mlflow(run, tracking_uri or f"sqlite:///{(runs_dir / 'mlflow.db').resolve()}")
    known = sorted(path.parent.name for path in runs_dir.glob(f"*/{SUMMARY_FILE}"))
    raise UserError(
        f"no finished sweep {run!r}",
        where=runs_dir,
        remedy=f"choose from {', '.join(known)}" if known else "run `promptopt sweep` first",
    )


def _from_mlflow(run_id: str, uri: str) -> SweepSummary:
    from promptopt.tracking.reading import read_artifact

    data: Any = read_artifact(uri, run_id, SUMMARY_FILE)
    return SweepSummary.model_validate_json(data)
