"""Judges the parts of a table in many processes, with Ray Data.

The parts are the rows of a small Ray data set; Ray Data hands them to a pool of actors. Each actor opens the bundle and
its engine once, reads its parts from the table itself, and writes their verdicts itself; only tallies travel back. An
actor that dies is replaced and its part is handed out again, and a part that is there already is not judged again, so
nothing counts twice.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from promptopt.bundle.composition.opening import OpenJudge, open_judge
from promptopt.bundle.composition.reader import read_judge
from promptopt.bundle.contract import JudgeCost
from promptopt.bundle.parts_work import Advanced, Part, PartJob, judge_part
from promptopt.bundle.table_readers import RowStart, TableError
from promptopt.bundle.table_verdicts import TableTally
from promptopt.engines.base import JudgeEngine
from promptopt.errors import BundleError, ConfigError, EngineError, LabelSetError, UserError
from promptopt.judges.bundles import open_bundle_engine
from promptopt.judges.config import RayOptions
from promptopt.pipeline.ray_session import RaySession, first_line, quiet_data

_ERRORS = {kind.__name__: kind for kind in (BundleError, ConfigError, EngineError, LabelSetError, TableError)}
_ATTEMPTS = 4
_MOST_BLOCKS = 10_000
_RAY = "ray"


@dataclass(frozen=True, slots=True)
class JudgeSetup:
    """What a worker needs to open its judge.

    Attributes:
        folder: The bundle, or the composition's folder or file; an absolute path.
        digest: Its digest.
        judge: The configuration of the engine that each worker opens; empty for those that the bundles name.
        any_judge: Whether the engine may be another than the one that was measured.
        fingerprint: What the engine's fingerprint must be, or an empty string.
    """

    folder: Path
    digest: str
    judge: Mapping[str, Any]
    any_judge: bool
    fingerprint: str = ""

    def open(self) -> OpenJudge:
        """The judge with its engines, for the caller to close.

        Raises:
            BundleError: The bundle is another here, or it was measured on another judge.
            EngineError: An engine cannot be opened, or is not that of the other workers.
        """
        node = read_judge(self.folder)
        if node.digest != self.digest:
            raise BundleError(
                "a worker finds another bundle than the command",
                where=self.folder,
                remedy="keep it on a file system that all hosts share",
            )
        opened = open_judge(node, any_judge=self.any_judge, opener=self._open_engine)
        if self.any_judge and self.fingerprint and opened.judge.engine_fingerprint() != self.fingerprint:
            opened.close()
            raise EngineError("the workers do not all have the same judge", remedy="give all hosts the same model")
        return opened

    def _open_engine(self, config: Mapping[str, Any], folder: Path) -> JudgeEngine:
        config = dict(self.judge or config)
        if config.get("engine") == _RAY:  # this is a worker of Ray's already
            given = config.get("ray")
            config["engine"] = RayOptions.model_validate(given if isinstance(given, dict) else {}).engine
        return open_bundle_engine(config, folder)


class RayWorkers:
    """Workers on this machine or on a Ray cluster; see :class:`promptopt.bundle.parts_work.PartWorkers`.

    Args:
        setup: The judge that each worker opens.
        options: How many actors, and what each reserves.

    Attributes:
        queries: Questions asked so far.
        costs: What the workers have done, all together: of the whole first, then of its parts.
        seconds: Wall time of judging so far.
    """

    def __init__(self, setup: JudgeSetup, options: RayOptions) -> None:
        self._setup = setup
        self._options = options
        self._session = RaySession(options)
        self.queries = 0
        self.costs: tuple[JudgeCost, ...] = ()
        self.seconds = 0.0

    def bundle(self) -> str:
        return self._setup.digest

    def fingerprint(self) -> str:
        if not self._setup.any_judge:
            return read_judge(self._setup.folder).fingerprint
        ray = self._session.ray()
        task = ray.remote(
            num_cpus=self._options.cpus_per_actor, num_gpus=self._session.pool()[1], runtime_env=self._env()
        )
        found = json.loads(ray.get(task(_fingerprint).remote(self._setup)))
        _raise_told(found)
        self._setup = replace(self._setup, fingerprint=found["fingerprint"])
        return str(found["fingerprint"])

    def judge_parts(self, job: PartJob, parts: Sequence[Part], advanced: Advanced) -> Iterator[TableTally]:
        ray = self._session.ray()
        began = time.perf_counter()
        try:
            for outcome in self._outcomes(ray, job, parts):
                _raise_told(outcome)
                self._count([JudgeCost.model_validate(cost) for cost in outcome["costs"]])
                tally = TableTally.model_validate(outcome["tally"])
                advanced(tally.rows)
                yield tally
        except ray.exceptions.RayActorError as cause:
            raise EngineError(
                f"Ray lost a worker ({first_line(cause)})", remedy="run the same command again: it goes on"
            ) from cause
        finally:
            self.seconds += time.perf_counter() - began

    def _count(self, costs: Sequence[JudgeCost]) -> None:
        if costs:
            self.queries += costs[0].judgements
            before = self.costs or [cost - cost for cost in costs]
            self.costs = tuple(one + other for one, other in zip(before, costs, strict=True))

    def close(self) -> None:
        """Stops the workers; a cluster that was there before goes on."""
        self._session.close()

    def _outcomes(self, ray: Any, job: PartJob, parts: Sequence[Part]) -> Iterator[dict[str, Any]]:
        """What came of each part, as soon as it is known."""
        actors, gpus = self._session.pool()
        with quiet_data(ray) as data:
            rows = [{"part": p.number, "row": p.start.row, "rows": p.rows, **_place(p.start)} for p in parts]
            outcomes = data.from_items(rows, override_num_blocks=min(len(rows), _MOST_BLOCKS)).map_batches(
                _Worker,
                fn_constructor_args=(self._setup, job),
                batch_size=1,
                compute=data.ActorPoolStrategy(size=min(actors, len(rows)), max_tasks_in_flight_per_actor=2),
                num_cpus=self._options.cpus_per_actor,
                num_gpus=gpus or None,
                runtime_env=self._env(),
            )
            for row in outcomes.iter_rows():
                yield json.loads(row["outcome"])

    def _env(self) -> dict[str, Any]:
        threads = str(self._options.cpus_per_actor)
        return {"env_vars": {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}}


class _Worker:
    """Runs in an actor: judges one part per call."""

    def __init__(self, setup: JudgeSetup, job: PartJob) -> None:
        self._setup = setup
        self._job = job
        self._open: OpenJudge | None = None

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[str]]:
        facts = {name: int(column[0]) for name, column in batch.items()}
        start = RowStart(facts["row"], facts["offset"], facts["line"])
        try:
            outcome = self._outcome(Part(facts["part"], start, facts["rows"]))
        except UserError as error:  # which the command has to say in one sentence
            outcome = _telling(error)
        return {"outcome": [json.dumps(outcome)]}

    def _outcome(self, part: Part) -> dict[str, Any]:
        found = self._job.files.tally(part.number)
        if found is not None and found.rows == part.rows:  # by an actor that died before it could say so
            return {"tally": found.model_dump(), "costs": []}
        if self._job.files.attempt(part.number) > _ATTEMPTS:
            raise EngineError(
                f"a worker died on part {part.number} {_ATTEMPTS} times over",
                remedy="give each worker more memory, or take fewer with --actors; the same command then goes on",
            )
        if self._open is None:
            self._open = self._setup.open()
        judge = self._open.judge
        before = judge.costs()
        texts = self._job.reader().texts(part.start)
        tally = judge_part(judge.judge, self._job, part, texts)
        costs = [(now - then).model_dump() for now, then in zip(judge.costs(), before, strict=True)]
        return {"tally": tally.model_dump(), "costs": costs}


def _place(start: RowStart) -> dict[str, int]:
    return {"offset": start.offset, "line": start.line}


def _fingerprint(setup: JudgeSetup) -> str:
    """Runs in a task: the fingerprint of the judge that workers open, or the error, as JSON."""
    try:
        with setup.open() as judge:
            found = {"fingerprint": judge.engine_fingerprint()}
    except UserError as error:
        found = _telling(error)
    return json.dumps(found)


def _telling(error: UserError) -> dict[str, Any]:
    return {"error": type(error).__name__, "what": error.what, "where": error.where, "remedy": error.remedy}


def _raise_told(outcome: Mapping[str, Any]) -> None:
    """Raises the user's mistake that a worker met, if it met one."""
    if "error" in outcome:
        kind = _ERRORS.get(outcome["error"], UserError)
        raise kind(outcome["what"], where=outcome["where"], remedy=outcome["remedy"])
