"""``promptopt bench search``."""

from __future__ import annotations

import json
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from promptopt.bench.replay import WITHIN_POINTS, ErrorCheck, ReplayResult, ReplaySettings, replay
from promptopt.bench.replay_report import write_replay
from promptopt.bench.score_matrix import ScoreMatrix
from promptopt.commands.output import console, count, error_console, print_json, table
from promptopt.errors import ConfigError
from promptopt.metrics.intervals import Interval


def bench_search(matrix: Path, seeds: int, budget: float, out: Path, as_json: bool) -> None:
    """Replays, prints and writes."""
    if not 0 < budget <= 1:
        raise ConfigError(f"a budget of {budget:g}", where="--budget", remedy="give a share above 0 and at most 1")
    if seeds < 1:
        raise ConfigError(f"{seeds} seeds", where="--seeds", remedy="give at least 1")
    scores = ScoreMatrix.load(matrix)
    result = _with_progress(scores, ReplaySettings(seeds=seeds, budget=budget))
    try:
        write_replay(result, out)
    except OSError as cause:
        raise ConfigError(f"cannot be written ({cause.strerror})", where=out, remedy="name another folder") from cause
    if as_json:
        print_json({**json.loads(result.model_dump_json()), "out": str(out)})
    else:
        _print(result, out)


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
    made = table("policy", f"within {WITHIN_POINTS:g}", "mean regret", "median", "95th pct", "judgements", "ms per run")
    for row in result.main:
        made.add_row(
            row.policy,
            _share(row.within),
            _points(row.mean_regret),
            f"{row.median_regret.point:.2f}",
            _points(row.p95_regret),
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
