"""Searches end to end: every method on every task and seed at one budget, then all of them on the sealed test alike.

A method returns a program. Whatever the method is, its program is then scored on the same calibration cases, where
Platt's calibration and the threshold are fitted, and on the same test cases: no method loses for want of an operating
point. Each cell is kept in a file of its own as soon as it is done; the same command goes on where it was killed.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from promptopt.bench.search_methods import make_method, on_shape
from promptopt.bench.search_tasks import OpenTask, TaskFile, open_task
from promptopt.core.case import GoldenCase
from promptopt.core.digest import digest_data
from promptopt.core.model import FrozenModel
from promptopt.engines.base import JudgeEngine
from promptopt.judges.factory import open_engine
from promptopt.metrics.arrays import BoolArray, FloatArray, Measured
from promptopt.metrics.calibration import fit_platt
from promptopt.metrics.operating_point import choose_threshold, confusion
from promptopt.metrics.ranking import average_precision
from promptopt.pipeline.verbalizer_prior import check_judge
from promptopt.policy.jury import JuryProcedure
from promptopt.policy.procedure import Procedure
from promptopt.scores.store import ScoreStore, Spent
from promptopt.search.baselines.base import FoundProgram, Meter, SearchTask
from promptopt.search.judging import StoredJudge
from promptopt.search.openings import OpeningRecord
from promptopt.search.weighing import is_unfitted, scores_to_compare, weigh

CELLS = "cells"
_SEARCH = {"objective", "racing", "sampler", "proposers", "demo_pool", "winner"}


class SearchCell(FrozenModel):
    """One method on one task and seed.

    Attributes:
        task: Task.
        method: Method.
        seed: Seed.
        settings: Digest of the task file's settings that the cell depends on.
        prompts: Digests of the prompts that the method returned.
        judgements: Judgements that the search spent.
        tokens: Tokens of the search, see :class:`promptopt.search.baselines.base.Meter`.
        generations: Texts that the judge's model wrote during the search.
        seconds: Wall time of the search, without what the meter takes to count tokens.
        engine_seconds: The part of it inside the engine.
        fresh: Judgements of the search that the shared score store did not hold; only these took time.
        search_auprc: AUPRC on the search cases; where weights are fitted on them, of scores from the other folds, but
            a jury's members' are fitted on all.
        auprc: AUPRC on the sealed test.
        precision: On the test, at the threshold fitted on the calibration cases.
        recall: Likewise.
        f1: Likewise.
        unjudged: Test cases without a verdict.
        test: Digest of the test cases and their order, for pairing.
        groups: Groups of the test cases.
        labels: True for a violation.
        scores: Probability of violation on each test case; NaN where unjudged.
    """

    task: str
    method: str
    seed: int
    settings: str
    prompts: tuple[str, ...]
    judgements: int
    tokens: int
    generations: int
    seconds: float
    engine_seconds: float
    fresh: int
    search_auprc: Measured
    auprc: Measured
    precision: Measured
    recall: Measured
    f1: Measured
    unjudged: int
    test: str
    groups: tuple[str, ...]
    labels: tuple[bool, ...]
    scores: tuple[Measured, ...]


@dataclass(frozen=True, slots=True)
class BenchPlan:
    """What to run.

    Attributes:
        file: Tasks and sizes.
        methods: Method names.
        seeds: Seeds.
        out: Folder of the results.
    """

    file: TaskFile
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    out: Path


def run_search_bench(plan: BenchPlan, tell: Callable[[str], None]) -> list[SearchCell]:
    """Runs what is missing, and gives all cells of the plan.

    Args:
        plan: What to run.
        tell: Told what is begun and what came of it, one line at a time.

    Returns:
        One cell per task, seed and method.

    Raises:
        UserError: An input does not fit.
    """
    cells: list[SearchCell] = []
    for name in plan.file.tasks:
        task = open_task(name, plan.file)
        settings = {m: _settings(_as_searched(task, m), plan.file) for m in plan.methods}
        paths = {(s, m): _path(plan.out, name, m, s) for s, m in itertools.product(plan.seeds, plan.methods)}
        done = {key: cell for key, path in paths.items() if (cell := _read(path, settings[key[1]])) is not None}
        if missing := [key for key in paths if key not in done]:
            tell(f"{name}: {len(missing)} of {len(paths)} cells to run")
            with_engine = _Bench(task, plan, settings, tell)
            try:
                done |= {key: with_engine.run(*key, paths[key]) for key in missing}
            finally:
                with_engine.close()
        cells.extend(done[key] for key in paths)
    return cells


class _Bench:
    """A task with its judge."""

    def __init__(
        self, task: OpenTask, plan: BenchPlan, settings: Mapping[str, str], tell: Callable[[str], None]
    ) -> None:
        self._task, self._plan, self._settings, self._tell = task, plan, settings, tell
        config = task.config
        runs = Path(config.runs_dir)
        self._store = ScoreStore(config.scores_url or f"sqlite:///{runs / 'scores.db'}")
        self._openings = OpeningRecord(runs / "test_openings.jsonl")
        self._engine: JudgeEngine = open_engine(config.judge)
        check_judge(task.prior, self._engine.describe())

    def close(self) -> None:
        self._engine.close()
        self._store.close()

    def run(self, seed: int, method: str, path: Path) -> SearchCell:
        """Searches, measures on the test, and keeps the cell."""
        task, file = _as_searched(self._task, method), self._plan.file
        pool, cases = task.pool_and_cases(file.search_cases, seed)
        spent: list[Spent] = []
        judge = StoredJudge(self._engine, self._store, f"bench:{task.name}:{method}:{seed}", spent.append)
        meter = Meter(judge, self._engine, file.judgements)
        search = SearchTask(task.policy, task.config.space, task.maker(pool), pool, cases, meter, seed)
        began = time.perf_counter()
        program = make_method(on_shape(method)[0], task.config.search).search(search)
        seconds = time.perf_counter() - began - meter.counting_seconds
        cost = (seconds, sum(one.seconds for one in spent), sum(one.judgements for one in spent))
        cell = self._measure(program, judge, meter, cases, (method, seed), cost)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(cell.model_dump_json() + "\n", encoding="utf-8")
        self._tell(
            f"{task.name}, seed {seed}, {method}: test AUPRC {cell.auprc:.3f}, {cell.judgements} judgements "
            f"({cell.fresh} new) and {cell.generations} texts in {cell.seconds:.0f} s"
        )
        return cell

    def _measure(
        self,
        program: FoundProgram,
        judge: StoredJudge,
        meter: Meter,
        cases: Sequence[GoldenCase],
        who: tuple[str, int],
        cost: tuple[float, float, int],
    ) -> SearchCell:
        task = self._task
        prompts = program.lower()
        digests = tuple(prompt.digest for prompt in prompts)
        why, sweep = "end-to-end search benchmark", f"bench:{task.name}:{who[0]}:{who[1]}"
        self._openings.open(why=why, sweep=sweep, candidate=digest_data(digests), golden=task.golden.digest)

        found_on = judge.answers(prompts, cases).probabilities if is_unfitted(program.procedure) else {}
        procedure = program.procedure
        if isinstance(procedure, Procedure):
            procedure = weigh(procedure, found_on, cases)

        def scored(on: Sequence[GoldenCase], by: Procedure | JuryProcedure) -> tuple[BoolArray, FloatArray]:
            scores = scores_to_compare(by, judge.answers(prompts, on).probabilities, on)
            return np.array([case.is_violation for case in on], dtype=np.bool_), scores

        labels, calibration = scored(task.calibration, procedure)
        platt = fit_platt(labels, calibration)
        floor = task.config.search.objective.precision_floor
        point = choose_threshold(labels, platt.apply(calibration), "recall_at_precision", floor)
        test_labels, test = scored(task.test, procedure)
        found = confusion(test_labels, platt.apply(test), point.threshold)
        return SearchCell(
            task=task.name,
            method=who[0],
            seed=who[1],
            settings=self._settings[who[0]],
            prompts=digests,
            judgements=meter.spent,
            tokens=meter.tokens,
            generations=meter.generations,
            seconds=cost[0],
            engine_seconds=cost[1],
            fresh=cost[2],
            search_auprc=average_precision(*scored(cases, program.procedure)),
            auprc=average_precision(test_labels, test),
            precision=found.precision,
            recall=found.recall,
            f1=found.f1,
            unjudged=int(np.isnan(test).sum()),
            test=digest_data([case.digest for case in task.test]),
            groups=tuple(case.group for case in task.test),
            labels=tuple(bool(label) for label in test_labels),
            scores=tuple(round(float(score), 7) for score in test),
        )


def _as_searched(task: OpenTask, method: str) -> OpenTask:
    """The task with the programs that a method works on."""
    shape = on_shape(method)[1]
    return task if shape is None else task.on_programs_of(shape)


def _settings(task: OpenTask, file: TaskFile) -> str:
    """What a stored cell has to agree with to be used again."""
    config = task.config
    return digest_data(
        {
            "sizes": [file.judgements, file.search_cases, file.calibration_cases, file.test_cases],
            "policy": task.policy.digest,
            "golden": task.golden.digest,
            "space": config.space.digest,
            **({"verbalizer prior": task.prior.weights} if task.prior else {}),
            "judge": config.judge.model_dump(mode="json"),
            "search": config.search.model_dump(mode="json", include=_SEARCH),
        }
    )


def _path(out: Path, task: str, method: str, seed: int) -> Path:
    return out / CELLS / task / f"{method}-{seed}.json"


def _read(path: Path, settings: str) -> SearchCell | None:
    if not path.is_file():
        return None
    cell = SearchCell.model_validate_json(path.read_bytes())
    return cell if cell.settings == settings else None
