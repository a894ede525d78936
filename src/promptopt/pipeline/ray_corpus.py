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

from promptopt.bundle.files import read_bundle
from promptopt.bundle.parts_work import Advanced, Part, PartJob, judge_part
from promptopt.bundle.runtime import BundleJudge
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


@dataclass(frozen=True, slots=True)
class JudgeSetup:
    """What a worker needs to open its judge.

    Attributes:
        folder: The bundle; an absolute path.
        digest: The bundle's digest.
        judge: The configuration of the engine that each worker opens.
        any_judge: Whether the engine may be another than the one that was measured.
        fingerprint: What the engine's fingerprint must be, or an empty string.
    """

    folder: Path
    digest: str
    judge: Mapping[str, Any]
    any_judge: bool
    fingerprint: str = ""

    def open(self) -> tuple[BundleJudge, JudgeEngine]:
        """The judge, and the engine for the caller to close.

        Raises:
            BundleError: The bundle is another here, or it was measured on another judge.
            EngineError: The engine cannot be opened, or is not that of the other workers.
        """
        bundle = read_bundle(self.folder)
        if bundle.digest != self.digest:
            raise BundleError(
                "a worker finds another bundle than the command",
                where=self.folder,
                remedy="keep it on a file system that all hosts share",
            )
        engine = open_bundle_engine(self.judge, self.folder)
        judge = BundleJudge(bundle, engine)
        if not self.any_judge:
            judge.check_engine()
        elif self.fingerprint and engine.describe().fingerprint != self.fingerprint:
            raise EngineError("the workers do not all have the same judge", remedy="give all hosts the same model")
        return judge, engine


class RayWorkers:
    """Workers on this machine or on a Ray cluster; see :class:`promptopt.bundle.parts_work.PartWorkers`.

    Args:
        setup: The judge that each worker opens.
        options: How many actors, and what each reserves.

    Attributes:
        queries: Questions asked so far.
        seconds: Wall time of judging so far.
    """

    def __init__(self, setup: JudgeSetup, options: RayOptions) -> None:
        self._setup = setup
        self._options = options
        self._session = RaySession(options)
        self.queries = 0
        self.seconds = 0.0

    def bundle(self) -> str:
        return self._setup.digest

    def fingerprint(self) -> str:
        if not self._setup.any_judge:
            return read_bundle(self._setup.folder).fingerprint
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
                self.queries += outcome["queries"]
                tally = TableTally.model_validate(outcome["tally"])
                advanced(tally.rows)
                yield tally
        except ray.exceptions.RayActorError as cause:
            raise EngineError(
                f"Ray lost a worker ({first_line(cause)})", remedy="run the same command again: it goes on"
            ) from cause
        finally:
            self.seconds += time.perf_counter() - began

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
        self._judge: BundleJudge | None = None

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
            return {"tally": found.model_dump(), "queries": 0}
        if self._job.files.attempt(part.number) > _ATTEMPTS:
            raise EngineError(
                f"a worker died on part {part.number} {_ATTEMPTS} times over",
                remedy="give each worker more memory, or take fewer with --actors; the same command then goes on",
            )
        if self._judge is None:
            self._judge, _ = self._setup.open()
        asked = self._judge.usage.queries
        texts = self._job.reader().texts(part.start)
        tally = judge_part(self._judge.judge, self._job, part, texts)
        return {"tally": tally.model_dump(), "queries": self._judge.usage.queries - asked}


def _place(start: RowStart) -> dict[str, int]:
    return {"offset": start.offset, "line": start.line}


def _fingerprint(setup: JudgeSetup) -> str:
    """Runs in a task: the fingerprint of the judge that workers open, or the error, as JSON."""
    try:
        _, engine = setup.open()
        found = {"fingerprint": engine.describe().fingerprint}
        engine.close()
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
