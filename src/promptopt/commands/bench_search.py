"""``promptopt bench search``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from promptopt.bench.replay import JURORS, WITHIN_POINTS, ErrorCheck, ReplayResult, ReplaySettings, replay
from promptopt.bench.replay_report import write_replay
from promptopt.bench.score_matrix import ScoreMatrix
from promptopt.commands.output import console, count, error_console, print_json, table, with_interval
from promptopt.errors import ConfigError
from promptopt.metrics.intervals import Interval

if TYPE_CHECKING:
    from promptopt.bench.search_summary import SearchBenchSummary


@dataclass(frozen=True, slots=True)
class SearchBenchRequest:
    """What was asked for on the command line.

    Attributes:
        matrix: Score matrix to replay on.
        tasks: Task file to search on end to end; exactly one of the two is given.
        methods: Names of methods, or of a replay's selection policies, divided by commas; None for all.
        seeds: Replays or searches.
        budget: Share of the grid, replay only.
        out: Folder of the results.
    """

    matrix: Path | None
    tasks: Path | None
    methods: str | None
    seeds: int | None
    budget: float
    out: Path | None


def bench_search(request: SearchBenchRequest, as_json: bool) -> None:
    """Replays or searches, prints and writes."""
    if (request.matrix is None) == (request.tasks is None):
        given = "neither --matrix nor --tasks is" if request.matrix is None else "--matrix and --tasks are both"
        raise ConfigError(
            f"{given} given",
            where="bench search",
            remedy="give --matrix FILE.npz to replay stored scores, or --tasks FILE.yaml to search end to end",
        )
    if request.seeds is not None and request.seeds < 1:
        raise ConfigError(f"{request.seeds} seeds", where="--seeds", remedy="give at least 1")
    if request.tasks is not None:
        _search(request, request.tasks, as_json)
    elif request.matrix is not None:
        _replay(request, request.matrix, as_json)


def _search(request: SearchBenchRequest, tasks: Path, as_json: bool) -> None:
    from promptopt.bench.search_bench import BenchPlan, run_search_bench
    from promptopt.bench.search_methods import method_names, on_shape
    from promptopt.bench.search_report import write_search_bench
    from promptopt.bench.search_summary import summarise_search
    from promptopt.bench.search_tasks import read_tasks

    methods = _names(request) or method_names()
    for name in methods:
        on_shape(name)
    out = request.out or Path("runs/bench-search-tasks")
    plan = BenchPlan(read_tasks(tasks), methods, tuple(range(request.seeds or 3)), out)
    shown_on = error_console()
    cells = run_search_bench(plan, lambda line: shown_on.print(line, markup=False, soft_wrap=True))
    summary = summarise_search(cells)
    write_search_bench(summary, cells, out)
    if as_json:
        print_json({**json.loads(summary.model_dump_json()), "out": str(out)})
    else:
        _print_search(summary, out)


def _print_search(summary: SearchBenchSummary, out: Path) -> None:
    shown = console()
    for task in dict.fromkeys(row.task for row in summary.rows):
        rows = [row for row in summary.rows if row.task == task]
        own = next((name for row in rows for name in reversed(row.differences)), "")
        head = ("method", "test AUPRC", *([f"{own} minus it"] if own else []))
        made = table(*head, "on search cases", "F1", "judgements", "texts")
        for row in rows:
            difference = [with_interval(row.differences[own], "+") if own in row.differences else ""] if own else []
            figures = (f"{row.search_auprc:.3f}", f"{row.f1:.3f}", f"{row.judgements:,.0f}", f"{row.generations:.0f}")
            made.add_row(row.method, with_interval(row.auprc), *difference, *figures)
        shown.print(f"\n[bold]{task}[/], mean of {count(summary.rows[0].seeds, 'seed')}")
        shown.print(made)
    shown.print("\nF1 is that of the threshold which keeps the precision floor on the calibration cases.")
    for own, tasks in summary.above_best.items():
        below = ", ".join(f"{method} on {task}" for name, task, method in summary.below if name == own) or "none"
        shown.print(f"significantly above {own}: {below}")
        shown.print(f"{own} above every baseline on: {', '.join(tasks) or 'no task'}")
    shown.print(f"written to {out}", markup=False)


def _replay(request: SearchBenchRequest, matrix: Path, as_json: bool) -> None:
    budget, out = request.budget, request.out or Path("runs/bench-search")
    if not 0 < budget <= 1:
        raise ConfigError(f"a budget of {budget:g}", where="--budget", remedy="give a share above 0 and at most 1")
    settings = ReplaySettings(seeds=request.seeds or 30, budget=budget)
    if policies := _names(request):
        settings = settings.model_copy(update={"policies": policies})
    result = _with_progress(ScoreMatrix.load(matrix), settings)
    try:
        write_replay(result, out)
    except OSError as cause:
        raise ConfigError(f"cannot be written ({cause.strerror})", where=out, remedy="name another folder") from cause
    if as_json:
        print_json({**json.loads(result.model_dump_json()), "out": str(out)})
    else:
        _print(result, out)


def _names(request: SearchBenchRequest) -> tuple[str, ...]:
    """The methods that were asked for, each once; none where all are meant."""
    return tuple(dict.fromkeys((request.methods or "").split(","))) if request.methods else ()


def _with_progress(matrix: ScoreMatrix, settings: ReplaySettings) -> ReplayResult:
    shown_on = error_console()
    columns = (SpinnerColumn(), TextColumn("replaying"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=shown_on, transient=True, disable=not shown_on.is_terminal) as progress:
        task = progress.add_task("replaying", total=None)
        return replay(matrix, settings, lambda done, steps: progress.update(task, completed=done, total=steps))


def _print(result: ReplayResult, out: Path) -> None:
    shown = console()
    shown.print(
        f"{count(result.candidates, 'candidate')}, {count(result.cases, 'case')}, "
        f"{count(result.settings.seeds, 'seed')}, at most {result.settings.budget:.1%} of the grid's judgements"
    )
    within, jury = f"within {WITHIN_POINTS:g}", f"jury of {JURORS}"
    made = table("policy", within, jury, "mean regret", jury, "judgements", "ms per run")
    for row in result.main:
        made.add_row(
            row.policy,
            _share(row.within),
            f"{row.jury_within.point:.0%}",
            _points(row.mean_regret),
            f"{row.jury_mean_regret.point:.2f}",
            f"{row.judgements:,.0f} ({row.share:.1%})",
            f"{1000 * row.seconds:,.0f}",
        )
    shown.print(made)
    shown.print("regret in AUPRC points below the pool's best on the same scores, with 95% intervals over seeds")
    for check in result.errors:
        shown.print(_errors(check), markup=False)
    for budget in result.skipped:
        shown.print(f"a budget of {budget:.1%} is left out of the curve: it does not carry a race")
    shown.print(f"written to {out}", markup=False)


def _errors(check: ErrorCheck) -> str:
    which = "without a budget" if check.budget == 1 else f"at {check.budget:.1%}"
    return (
        f"race {which}: a test dropped the best in {check.best_dropped_by_test} of {check.seeds} seeds "
        f"(at most {check.rate.high:.0%} with 95% confidence; alpha is {check.alpha:.0%}), "
        f"the budget in {check.best_dropped_by_budget}; {check.dropped_by_test:,} candidates dropped by tests, "
        f"{check.better_than_leader} of them better than the leader; {check.share:.1%} of the grid judged"
    )


def _share(interval: Interval) -> str:
    return f"{interval.point:.0%} [{interval.low:.0%}, {interval.high:.0%}]"


def _points(interval: Interval) -> str:
    return f"{interval.point:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
