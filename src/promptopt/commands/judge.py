"""``promptopt judge``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from promptopt.bundle.files import read_bundle
from promptopt.bundle.model import PromptBundle
from promptopt.bundle.runtime import BundleJudge
from promptopt.bundle.tables import TableOptions, TableTally, judge_table
from promptopt.commands.output import console, count, error_console, print_json
from promptopt.core.verdict import Verdict
from promptopt.engines.base import JudgeEngine, Usage
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


class _LateJudge:
    """A bundle's judge that is loaded when the first text comes, so that a bad table is refused before."""

    def __init__(self, bundle: PromptBundle, request: JudgeRequest) -> None:
        self._bundle = bundle
        self._request = request
        self._engine: JudgeEngine | None = None
        self._runtime: BundleJudge | None = None

    @property
    def usage(self) -> Usage:
        return self._runtime.usage if self._runtime else Usage()

    def judge(self, texts: Sequence[str | None]) -> list[Verdict]:
        if self._runtime is None:
            self._engine = open_bundle_engine(self._bundle.judge, self._request.bundle)
            runtime = BundleJudge(self._bundle, self._engine)
            if not self._request.any_judge:
                runtime.check_engine()
            self._runtime = runtime
        return self._runtime.judge(texts)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()


def judge(request: JudgeRequest, as_json: bool) -> None:
    """Judges a file; the output appears complete or not at all."""
    late = _LateJudge(read_bundle(request.bundle), request)
    options = TableOptions(text_column=request.text_column, prefix=request.prefix, overwrite=request.force)
    shown_on = error_console()
    progress = Progress(
        SpinnerColumn(),
        TextColumn("judging {task.completed:,} of {task.total:,} rows"),
        TimeElapsedColumn(),
        console=shown_on,
        transient=True,
        disable=as_json or not shown_on.is_terminal,
    )
    try:
        with progress:
            task = progress.add_task("judging", total=0)
            tally = judge_table(
                late.judge,
                request.source,
                request.target,
                options,
                lambda done, total: progress.update(task, completed=done, total=total),
            )
    finally:
        late.close()
    _print(tally, request, late.usage, as_json)


def _print(tally: TableTally, request: JudgeRequest, usage: Usage, as_json: bool) -> None:
    speed = usage.queries / usage.seconds if usage.seconds else 0.0
    if as_json:
        print_json({**tally.model_dump(mode="json"), "out": str(request.target), "judgements_per_second": speed})
        return
    out = console()
    out.print(
        f"{count(tally.rows, 'row')}: {count(tally.violations, 'violation')}, {tally.allowed:,} allowed, "
        f"{tally.unjudged:,} without a verdict; {tally.escalated:,} to escalate, {tally.truncated:,} not read whole"
    )
    out.print(f"written to {request.target} ({speed:,.0f} judgements/s)", soft_wrap=True, markup=False)
