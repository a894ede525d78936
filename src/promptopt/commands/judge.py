"""``promptopt judge``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from promptopt.bundle.files import read_bundle
from promptopt.bundle.runtime import BundleJudge
from promptopt.bundle.tables import TableOptions, TableTally, judge_table
from promptopt.commands.output import console, error_console, print_json
from promptopt.judges.bundles import open_bundle_engine


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """What to judge, with what, and where to put it."""

    bundle: Path
    source: Path
    target: Path
    text_column: str
    prefix: str
    force: bool
    any_judge: bool


def judge(request: JudgeRequest, as_json: bool) -> None:
    """Judges a file; the output appears complete or not at all."""
    bundle = read_bundle(request.bundle)
    engine = open_bundle_engine(bundle.judge, request.bundle)
    options = TableOptions(text_column=request.text_column, prefix=request.prefix, overwrite=request.force)
    try:
        runtime = BundleJudge(bundle, engine)
        if not request.any_judge:
            runtime.check_engine()
        progress = Progress(
            SpinnerColumn(),
            TextColumn("judging {task.completed:,} of {task.total:,} rows"),
            TimeElapsedColumn(),
            console=error_console(),
            transient=True,
            disable=as_json,
        )
        with progress:
            task = progress.add_task("judging", total=0)
            tally = judge_table(
                runtime.judge,
                request.source,
                request.target,
                options,
                lambda done, total: progress.update(task, completed=done, total=total),
            )
    finally:
        engine.close()
    _print(tally, request, runtime, as_json)


def _print(tally: TableTally, request: JudgeRequest, runtime: BundleJudge, as_json: bool) -> None:
    usage = runtime.usage
    speed = usage.queries / usage.seconds if usage.seconds else 0.0
    if as_json:
        print_json({**tally.model_dump(mode="json"), "out": str(request.target), "judgements_per_second": speed})
        return
    out = console()
    out.print(
        f"{tally.rows:,} rows: {tally.violations:,} violations, {tally.allowed:,} allowed, "
        f"{tally.unjudged:,} without a verdict; {tally.escalated:,} to escalate, {tally.truncated:,} not read whole"
    )
    out.print(f"{request.target} ({speed:.0f} judgements/s)", soft_wrap=True)
