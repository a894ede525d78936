"""``promptopt judge``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from promptopt.bundle.files import read_bundle
from promptopt.bundle.model import PromptBundle
from promptopt.bundle.parts_work import Advanced, Part, PartJob, judge_here
from promptopt.bundle.runtime import BundleJudge
from promptopt.bundle.table_verdicts import TableTally
from promptopt.bundle.tables import TableFiles, TableOptions, judge_in_parts
from promptopt.commands.judge_display import JudgeDisplay
from promptopt.commands.output import console, count, print_json
from promptopt.core.verdict import Verdict
from promptopt.core.yaml_file import explain_validation
from promptopt.engines.base import JudgeEngine
from promptopt.errors import BundleError, ConfigError
from promptopt.judges.bundles import open_bundle_engine
from promptopt.judges.config import JudgeConfig, RayOptions
from promptopt.pipeline.ray_corpus import JudgeSetup, RayWorkers

_RAY = "ray"


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """What to judge, with what, and where to put it.

    Attributes:
        bundle: Folder of an exported judge.
        source: The table.
        target: The output.
        options: Columns, and how the table is judged.
        any_judge: Whether another judge than the one that was measured will do.
        engine: Kind of engine to use instead of the bundle's; None for the bundle's.
        actors: Number of Ray actors; None for what the bundle says.
    """

    bundle: Path
    source: Path
    target: Path
    options: TableOptions
    any_judge: bool = False
    engine: str | None = None
    actors: int | None = None


def judge(request: JudgeRequest, as_json: bool) -> None:
    """Judges a file; the output appears complete or not at all, and until then finished parts wait for the next run."""
    bundle = read_bundle(request.bundle)
    config = engine_config(bundle, request.engine, request.actors)
    workers = RayWorkers(*_ray(bundle, config, request)) if config["engine"] == _RAY else _Here(bundle, config, request)
    display = JudgeDisplay(as_json)
    try:
        with display:
            tally = judge_in_parts(workers, TableFiles(request.source, request.target, request.options), display)
    finally:
        workers.close()
    speed = workers.queries / workers.seconds if workers.seconds else 0.0
    if as_json:
        extra = {"rows_judged_before": display.before, "out": str(request.target), "judgements_per_second": speed}
        print_json({**tally.model_dump(mode="json"), **extra})
    else:
        _print(tally, request, speed)


class _Here:
    """Judges in this process; the engine is opened when the table is found to be sound and has rows left to judge."""

    def __init__(self, bundle: PromptBundle, config: Mapping[str, Any], request: JudgeRequest) -> None:
        self._bundle = bundle
        self._config = config
        self._request = request
        self._engine: JudgeEngine | None = None
        self._runtime: BundleJudge | None = None

    @property
    def queries(self) -> int:
        return self._runtime.usage.queries if self._runtime else 0

    @property
    def seconds(self) -> float:
        return self._runtime.usage.seconds if self._runtime else 0.0

    def bundle(self) -> str:
        return self._bundle.digest

    def fingerprint(self) -> str:
        # a judge that has to be the measured one need not be opened to be known
        return self._opened()[1].describe().fingerprint if self._request.any_judge else self._bundle.fingerprint

    def judge_parts(self, job: PartJob, parts: Sequence[Part], advanced: Advanced) -> Iterator[TableTally]:
        return judge_here(self._judge, job, parts, advanced)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()

    def _judge(self, texts: Sequence[str | None]) -> list[Verdict]:
        return self._opened()[0].judge(texts)

    def _opened(self) -> tuple[BundleJudge, JudgeEngine]:
        if self._runtime is None or self._engine is None:
            self._engine = open_bundle_engine(self._config, self._request.bundle)
            runtime = BundleJudge(self._bundle, self._engine)
            if not self._request.any_judge:
                runtime.check_engine()
            self._runtime = runtime
        return self._runtime, self._engine


def engine_config(bundle: PromptBundle, engine: str | None, actors: int | None) -> dict[str, Any]:
    """The bundle's judge configuration with the engine that was asked for.

    Args:
        bundle: The bundle.
        engine: Kind of engine to use instead of the bundle's; None for the bundle's.
        actors: Number of Ray actors; None for what the bundle says.

    Raises:
        ConfigError: There is no such engine, or the number of actors is for another.
    """
    config = dict(bundle.judge)
    own = config.setdefault("engine", JudgeConfig.model_fields["engine"].default)
    kinds = get_args(JudgeConfig.model_fields["engine"].annotation)
    if engine is not None and engine not in kinds:
        raise ConfigError(f"there is no engine {engine!r}", where="--engine", remedy=f"choose from {', '.join(kinds)}")
    config["engine"] = engine or own
    if config["engine"] != _RAY:
        if actors is not None:
            raise ConfigError(
                f"the engine {config['engine']!r} has no actors", where="--actors", remedy="add --engine ray"
            )
        return config
    given = config.get("ray")
    ray = dict(given) if isinstance(given, dict) else {}
    if own != _RAY:
        ray["engine"] = own
    if actors is not None:
        ray["actors"] = actors
    return {**config, "ray": ray}


def _ray(bundle: PromptBundle, config: Mapping[str, Any], request: JudgeRequest) -> tuple[JudgeSetup, RayOptions]:
    """What Ray's workers need, each with the engine that the Ray options name."""
    try:
        options = RayOptions.model_validate(config["ray"])
    except ValidationError as cause:
        raise BundleError(
            f"the bundle's judge does not fit this version of promptopt ({explain_validation(cause)})",
            where=request.bundle,
            remedy="install the version that the bundle names",
        ) from cause
    each = {**config, "engine": options.engine}
    return JudgeSetup(request.bundle.resolve(), bundle.digest, each, request.any_judge), options


def _print(tally: TableTally, request: JudgeRequest, speed: float) -> None:
    out = console()
    out.print(
        f"{count(tally.rows, 'row')}: {count(tally.violations, 'violation')}, {tally.allowed:,} allowed, "
        f"{tally.unjudged:,} without a verdict; {tally.escalated:,} to escalate, {tally.truncated:,} not read whole"
    )
    out.print(f"written to {request.target} ({speed:,.0f} judgements/s)", soft_wrap=True, markup=False)
