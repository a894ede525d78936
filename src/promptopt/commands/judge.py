"""``promptopt judge``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from rich.markup import escape

from promptopt.bundle.composition.opening import OpenJudge, open_judge
from promptopt.bundle.composition.reader import read_judge
from promptopt.bundle.composition.tree import Branch, Leaf, Node
from promptopt.bundle.contract import JudgeCost, TextJudge
from promptopt.bundle.model import PromptBundle
from promptopt.bundle.parts_work import Advanced, Part, PartJob, judge_here
from promptopt.bundle.table_verdicts import TableTally
from promptopt.bundle.tables import TableFiles, TableOptions, judge_in_parts
from promptopt.commands.judge_display import JudgeDisplay
from promptopt.commands.output import console, count, print_json, table
from promptopt.core.verdict import Verdict
from promptopt.core.yaml_file import explain_validation
from promptopt.errors import BundleError, ConfigError
from promptopt.judges.config import JudgeConfig, RayOptions
from promptopt.pipeline.ray_corpus import JudgeSetup, RayWorkers

_RAY = "ray"


@dataclass(frozen=True, slots=True)
class JudgeRequest:
    """What to judge, with what, and where to put it.

    Attributes:
        bundle: Folder of an exported judge or of a composite one, or the file of a composition.
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
    node = read_judge(request.bundle)
    workers = _workers(node, request)
    if isinstance(node, Branch):
        # whole parts at a time, of which later stages get few cases each
        options = request.options.model_copy(update={"block": request.options.part_rows})
        request = replace(request, options=options)
    display = JudgeDisplay(as_json)
    try:
        with display:
            tally = judge_in_parts(workers, TableFiles(request.source, request.target, request.options), display)
    finally:
        workers.close()
    speed = workers.queries / workers.seconds if workers.seconds else 0.0
    if as_json:
        extra = {"rows_judged_before": display.before, "out": str(request.target), "judgements_per_second": speed}
        costs = [cost.model_dump(mode="json") for cost in workers.costs]
        print_json({**tally.model_dump(mode="json"), **extra, "costs": costs})
    else:
        _print(tally, request, speed)
        if isinstance(node, Branch):
            _print_costs(workers.costs)


def _workers(node: Node, request: JudgeRequest) -> RayWorkers | _Here:
    if isinstance(node, Leaf):
        config = engine_config(node.bundle, request.engine, request.actors)
        if config["engine"] == _RAY:
            return RayWorkers(*_ray(node.bundle, config, request))
        return _Here(node, config["engine"], request)
    kind = _engine_kind(request.engine)
    if kind == _RAY:
        setup = JudgeSetup(request.bundle.resolve(), node.digest, {}, request.any_judge)
        return RayWorkers(setup, _ray_of_all(node, request))
    if request.actors is not None:
        raise ConfigError("there are no actors without Ray", where="--actors", remedy="add --engine ray")
    return _Here(node, kind, request)


class _Here:
    """Judges in this process; engines are opened when the table is found to be sound and has rows left to judge."""

    def __init__(self, node: Node, kind: str | None, request: JudgeRequest) -> None:
        self._node = node
        self._kind = kind
        self._any_judge = request.any_judge
        self._open: OpenJudge | None = None

    @property
    def queries(self) -> int:
        return self._open.judge.usage.queries if self._open else 0

    @property
    def seconds(self) -> float:
        return self._open.judge.usage.seconds if self._open else 0.0

    @property
    def costs(self) -> tuple[JudgeCost, ...]:
        return self._open.judge.costs() if self._open else ()

    def bundle(self) -> str:
        return self._node.digest

    def fingerprint(self) -> str:
        # a judge that has to be the measured one need not be opened to be known
        return self._opened().engine_fingerprint() if self._any_judge else self._node.fingerprint

    def judge_parts(self, job: PartJob, parts: Sequence[Part], advanced: Advanced) -> Iterator[TableTally]:
        return judge_here(self._judge, job, parts, advanced)

    def close(self) -> None:
        if self._open is not None:
            self._open.close()

    def _judge(self, texts: Sequence[str | None]) -> list[Verdict]:
        return self._opened().judge(texts)

    def _opened(self) -> TextJudge:
        if self._open is None:
            self._open = open_judge(self._node, any_judge=self._any_judge, kind=self._kind)
        return self._open.judge


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
    config["engine"] = _engine_kind(engine) or own
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


def _engine_kind(engine: str | None) -> str | None:
    kinds = get_args(JudgeConfig.model_fields["engine"].annotation)
    if engine is not None and engine not in kinds:
        raise ConfigError(f"there is no engine {engine!r}", where="--engine", remedy=f"choose from {', '.join(kinds)}")
    return engine


def _ray(bundle: PromptBundle, config: Mapping[str, Any], request: JudgeRequest) -> tuple[JudgeSetup, RayOptions]:
    """What Ray's workers need, each with the engine that the Ray options name."""
    try:
        options = RayOptions.model_validate(config["ray"])
    except ValidationError as cause:
        raise _does_not_fit(request, cause) from cause
    each = {**config, "engine": options.engine}
    return JudgeSetup(request.bundle.resolve(), bundle.digest, each, request.any_judge), options


def _ray_of_all(node: Branch, request: JudgeRequest) -> RayOptions:
    """What a worker reserves that holds the engines of all bundles: the most that one of them asks for."""
    try:
        own = [RayOptions.model_validate(leaf.bundle.judge.get("ray") or {}) for leaf in node.leaves()]
    except ValidationError as cause:
        raise _does_not_fit(request, cause) from cause
    return RayOptions(
        actors=max(options.actors for options in own) if request.actors is None else request.actors,
        cpus_per_actor=max(options.cpus_per_actor for options in own),
        gpus_per_actor=max(options.gpus_per_actor for options in own),
        address=next((options.address for options in own if options.address), ""),
    )


def _does_not_fit(request: JudgeRequest, cause: ValidationError) -> BundleError:
    return BundleError(
        f"the bundle's judge does not fit this version of promptopt ({explain_validation(cause)})",
        where=request.bundle,
        remedy="install the version that the bundle names",
    )


def _print(tally: TableTally, request: JudgeRequest, speed: float) -> None:
    out = console()
    out.print(
        f"{count(tally.rows, 'row')}: {count(tally.violations, 'violation')}, {tally.allowed:,} allowed, "
        f"{tally.unjudged:,} without a verdict; {tally.escalated:,} to escalate, {tally.truncated:,} not read whole"
    )
    out.print(f"written to {request.target} ({speed:,.0f} judgements/s)", soft_wrap=True, markup=False)


def _print_costs(costs: Sequence[JudgeCost]) -> None:
    """What this run has cost, stage by stage."""
    if not costs:
        return
    rows = table("stage", "cases", "passed on", "no verdict", "judgements", "tokens", "seconds")
    for cost in (*costs[1:], costs[0]):
        counts = (cost.cases, cost.passed, cost.unjudged, cost.judgements, cost.tokens_computed)
        name = escape(f"{cost.place} {cost.name}" if cost.place else "in all")
        rows.add_row(name, *(f"{number:,}" for number in counts), f"{cost.seconds:,.1f}")
    console().print(rows)
