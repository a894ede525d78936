"""What the end-to-end search benchmark says: means over seeds, and every baseline paired with the package's sweeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from promptopt.bench.search_bench import SearchCell
from promptopt.bench.search_methods import OWN, is_own, on_shape
from promptopt.core.model import FrozenModel
from promptopt.metrics.arrays import FloatArray, Measured
from promptopt.metrics.intervals import Interval
from promptopt.metrics.ranking import average_precision

_RESAMPLES = 1000
_LEVEL = 0.95


class MethodSummary(FrozenModel):
    """One method on one task.

    Attributes:
        task: Task.
        method: Method.
        seeds: Seeds.
        auprc: Mean AUPRC on the sealed test over the seeds; the interval is over test cases, whole groups drawn.
        by_seed: AUPRC of each seed.
        differences: Own method to its mean over seeds minus this baseline's, both on the same draws of test cases;
            empty for own methods.
        search_auprc: Mean AUPRC on the search cases; what is above ``auprc`` is optimism.
        precision: Mean over seeds at the fitted thresholds.
        recall: Likewise.
        f1: Likewise.
        judgements: Mean over seeds.
        tokens: Likewise.
        generations: Likewise.
    """

    task: str
    method: str
    seeds: int
    auprc: Interval
    by_seed: tuple[Measured, ...]
    differences: dict[str, Interval]
    search_auprc: Measured
    precision: Measured
    recall: Measured
    f1: Measured
    judgements: float
    tokens: float
    generations: float


class SearchBenchSummary(FrozenModel):
    """All methods on all tasks.

    Attributes:
        rows: One per task and method.
        overhead: Share of the own sweeps' wall time that is spent outside the engine, over all its cells that judged
            at least half of their budget anew.
        below: (own method, task, baseline): where an own method is significantly below a baseline.
        above_best: Own method to the tasks in which its mean is above that of every baseline.
    """

    rows: tuple[MethodSummary, ...]
    overhead: Measured
    below: tuple[tuple[str, str, str], ...]
    above_best: dict[str, tuple[str, ...]]


def summarise_search(cells: Sequence[SearchCell]) -> SearchBenchSummary:
    """Summarises cells; every method has the same seeds on a task."""
    tasks = list(dict.fromkeys(cell.task for cell in cells))
    methods = list(dict.fromkeys(cell.method for cell in cells))
    rows: list[MethodSummary] = []
    for task in tasks:
        draws = {m: _draws([c for c in cells if (c.task, c.method) == (task, m)]) for m in methods}
        rows.extend(_row([c for c in cells if (c.task, c.method) == (task, m)], draws) for m in methods)
    baselines = [row for row in rows if not is_own(row.method)]
    best = {task: max((r.auprc.point for r in baselines if r.task == task), default=np.inf) for task in tasks}
    own = [row for row in rows if is_own(row.method)]
    return SearchBenchSummary(
        rows=tuple(rows),
        overhead=_overhead(cells),
        below=tuple((name, r.task, r.method) for r in baselines for name, gap in r.differences.items() if gap.high < 0),
        above_best={
            name: tuple(row.task for row in own if row.method == name and row.auprc.point > best[row.task])
            for name in dict.fromkeys(row.method for row in own)
        },
    )


def _draws(cells: Sequence[SearchCell]) -> FloatArray:
    """Mean AUPRC over the seeds on the test as it is (first) and on draws of its groups, the same for all methods."""
    groups, labels = np.array(cells[0].groups), np.array(cells[0].labels)
    names = np.unique(groups)
    rows = {name: np.flatnonzero(groups == name) for name in names}
    random = np.random.default_rng(0)
    picks = [np.arange(len(labels))]
    for _ in range(_RESAMPLES):
        picks.append(np.concatenate([rows[name] for name in random.choice(names, len(names))]))
    scores = [np.array(cell.scores) for cell in cells]
    return np.array([np.mean([average_precision(labels[p], s[p]) for s in scores]) for p in picks])


def _row(cells: Sequence[SearchCell], draws: Mapping[str, FloatArray]) -> MethodSummary:
    method = cells[0].method
    own = {} if is_own(method) else {name: drawn for name, drawn in draws.items() if is_own(name)}

    def mean(name: str) -> float:
        return float(np.mean([getattr(cell, name) for cell in cells]))

    return MethodSummary(
        task=cells[0].task,
        method=method,
        seeds=len(cells),
        auprc=_interval(draws[method]),
        by_seed=tuple(cell.auprc for cell in cells),
        differences={name: _interval(theirs - draws[method]) for name, theirs in own.items()},
        search_auprc=mean("search_auprc"),
        precision=float(np.nanmean([cell.precision for cell in cells]))
        if any(not np.isnan(cell.precision) for cell in cells)
        else float("nan"),
        recall=mean("recall"),
        f1=mean("f1"),
        judgements=mean("judgements"),
        tokens=mean("tokens"),
        generations=mean("generations"),
    )


def _interval(draws: FloatArray) -> Interval:
    drawn = draws[1:][~np.isnan(draws[1:])]
    low, high = np.quantile(drawn, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    dropped = len(draws) - 1 - len(drawn)
    return Interval(point=float(draws[0]), low=float(low), high=float(high), level=_LEVEL, dropped=dropped)


def _overhead(cells: Sequence[SearchCell]) -> float:
    own = [cell for cell in cells if on_shape(cell.method)[0] == OWN and 2 * cell.fresh >= cell.judgements]
    wall = sum(cell.seconds for cell in own)
    return (wall - sum(cell.engine_seconds for cell in own)) / wall if wall else float("nan")
