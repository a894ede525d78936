"""Runs the benchmark of the engine: every method in every cell, on one model and the same judgements."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, field_validator

from promptopt.bench import dspy_server, llama_server, methods
from promptopt.bench.facts import machine_facts, versions
from promptopt.bench.flops import ModelShape
from promptopt.bench.gguf import gguf_of
from promptopt.bench.peak import matmul_peak
from promptopt.bench.rows import ENGINE, METHODS, BenchRow, CellSummary, make_row, missing_row, summarise
from promptopt.bench.timing import Timing, TimingOptions, best_of, torch_threads
from promptopt.bench.workload import Cell, Workload, context_of, make_workload
from promptopt.core.model import FrozenModel
from promptopt.engines.hardware import choose_device, choose_dtype
from promptopt.engines.loading import LoadedModel, load_model
from promptopt.engines.local import LocalEngine, LocalEngineSettings
from promptopt.errors import ConfigError, EngineError, UserError
from promptopt.judges.catalog import CATALOG, pull

_PACKAGES = ("torch", "transformers", "numpy", "dspy", "llama-cpp-python")


class EngineBenchSettings(FrozenModel):
    """What to measure.

    Attributes:
        model: Name in the catalog, hub id, or folder.
        prefix: Tokens before the case.
        item: Tokens of a case.
        variants: Prompts that share three quarters of the prefix.
        methods: Some of :data:`METHODS`.
        seconds: Time for each figure.
        rounds: Rounds that the time is divided into. Methods take turns, and the best round of each counts.
        cases: Judgements of a cell, all variants together; fewer are timed where time is short.
        batch: Sequences per padded batch.
        batch_tokens: Tokens per forward pass of the engine; 0 leaves it to the engine.
        server_threads: Numbers of DSPy threads to try.
        threads: Processor threads of torch and of the server; 0 for torch's choice.
        device: ``auto``, ``cpu`` or ``cuda``.
        dtype: ``auto``, ``float32``, ``bfloat16`` or ``float16``.
        gguf: File that the server reads; None for the catalog's.
    """

    model: str = "smollm2-135m"
    prefix: tuple[int, ...] = (512, 1024)
    item: tuple[int, ...] = (24, 100)
    variants: tuple[int, ...] = (1, 8)
    methods: tuple[str, ...] = METHODS
    seconds: float = Field(default=20.0, gt=0)
    rounds: int = Field(default=3, ge=1)
    cases: int = Field(default=512, ge=1)
    batch: int = Field(default=16, ge=1)
    batch_tokens: int = Field(default=0, ge=0)
    server_threads: tuple[int, ...] = (1, 4, 16)
    threads: int = Field(default=0, ge=0)
    device: str = "auto"
    dtype: str = "auto"
    gguf: Path | None = None

    @field_validator("methods")
    @classmethod
    def _in_order(cls, chosen: tuple[str, ...]) -> tuple[str, ...]:
        """The engine first: it decides how many cases the others spread their prefixes over."""
        return tuple(method for method in METHODS if method in chosen)

    @property
    def peak_seconds(self) -> float:
        """Time for each shape of matrix product."""
        return min(1.0, self.seconds / 20)

    @property
    def cells(self) -> list[Cell]:
        """The grid."""
        return [Cell(*place) for place in product(self.prefix, self.item, self.variants)]


class EngineBenchResult(FrozenModel):
    """What was measured, and on what.

    Attributes:
        settings: As asked for.
        card: The engine's, its fingerprint included.
        versions: Of the libraries involved.
        machine: Platform, processors, device, threads.
        peak_gflops: Measured matrix multiplication in the model's number format, before and after.
        complete: False when it was interrupted.
        rows: One per cell and method.
        cells: How the engine compares, for each cell.
    """

    settings: EngineBenchSettings
    card: dict[str, Any]
    versions: dict[str, str]
    machine: dict[str, Any]
    peak_gflops: tuple[float, ...]
    complete: bool
    rows: tuple[BenchRow, ...]
    cells: tuple[CellSummary, ...]


@dataclass
class Watcher:
    """Who is told what happens; every part may be left out.

    Attributes:
        tell: Called with a short sentence.
        begins: Called with the cell and the method (or ``"float32 reference"``) that comes next.
        row: Called with every row as soon as it is there.
    """

    tell: Callable[[str], None] = lambda _: None
    begins: Callable[[Cell, str], None] = lambda _cell, _method: None
    row: Callable[[BenchRow], None] = lambda _: None


@dataclass
class _Run:
    """The state of a benchmark."""

    settings: EngineBenchSettings
    watcher: Watcher
    loaded: LoadedModel
    peak: float
    references: dict[Cell, dict[int, float]]
    server: dspy_server.ServerOptions | str
    rows: list[BenchRow] = field(default_factory=list)
    cells: list[CellSummary] = field(default_factory=list)


def run_engine_bench(settings: EngineBenchSettings, watcher: Watcher | None = None) -> EngineBenchResult:
    """Measures; Ctrl-C ends it early with the rows that are there.

    Args:
        settings: What to measure.
        watcher: Who is told.

    Raises:
        UserError: The model cannot be had, the GGUF file does not exist, or a cell does not fit the model's context.
    """
    watcher = watcher or Watcher()
    if settings.gguf and not settings.gguf.is_file():
        raise ConfigError("no such file", where=settings.gguf, remedy="check --gguf")
    with torch_threads(settings.threads):
        loaded = _load(settings, watcher)
        context = context_of(loaded.model)
        works = [make_workload(loaded.tokenizer, cell, settings.cases, context) for cell in settings.cells]
        device, dtype = _device(loaded), next(loaded.model.parameters()).dtype
        run = _Run(
            settings=settings,
            watcher=watcher,
            loaded=loaded,
            peak=matmul_peak(device, dtype, settings.peak_seconds),
            references={},
            server=_server(settings, watcher) if "dspy-server" in settings.methods else "",
        )
        peaks, complete = [run.peak], True
        try:
            run.references = _references(run, works)
            for work in works:
                _run_cell(run, work)
        except KeyboardInterrupt:
            complete = False
        if complete:
            peaks.append(matmul_peak(device, dtype, settings.peak_seconds))
        return _result(run, peaks, complete)


def _load(settings: EngineBenchSettings, watcher: Watcher) -> LoadedModel:
    device = choose_device(settings.device)
    source = str(pull(settings.model, watcher.tell)) if settings.model in CATALOG else settings.model
    return load_model(source, revision="", device=device, dtype=choose_dtype(settings.dtype, device))


def _server(settings: EngineBenchSettings, watcher: Watcher) -> dspy_server.ServerOptions | str:
    """How to run the server, or why it cannot be run."""
    if not llama_server.is_installed():
        return llama_server.MISSING
    try:
        gguf = settings.gguf or gguf_of(settings.model, watcher.tell)
    except UserError as refusal:
        return str(refusal).rstrip(".")
    return dspy_server.ServerOptions(gguf, torch.get_num_threads(), settings.server_threads, settings.seconds)


def _references(run: _Run, works: list[Workload]) -> dict[Cell, dict[int, float]]:
    """Plain float32 probabilities for every cell, from a copy that is gone before anything is measured."""
    loaded = run.loaded
    if next(loaded.model.parameters()).dtype != torch.float32:
        model = copy.deepcopy(loaded.model).float()
        loaded = LoadedModel(model, loaded.tokenizer, loaded.name, loaded.revision, loaded.weights_digest)
    found = {}
    for work in works:
        run.watcher.begins(work.cell, "float32 reference")
        found[work.cell] = methods.reference(loaded, work, run.settings.seconds / 2)
    del loaded
    gc.collect()
    return found


def _run_cell(run: _Run, work: Workload) -> None:
    timings: dict[str, list[Timing]] = {method: [] for method in run.settings.methods}
    missing: dict[str, str] = {}
    try:
        for number, method in product(range(run.settings.rounds), run.settings.methods):
            if method in missing or (number and method == "dspy-server"):
                continue  # the server's figure is the best of several numbers of threads already
            run.watcher.begins(work.cell, method)
            engine = timings.get(ENGINE)
            found = _measure(run, work, method, engine[0].cases if engine else 0)
            if isinstance(found, str):
                missing[method] = found
            else:
                timings[method].append(found)
    finally:
        rows = _keep(run, work, timings, missing)
    if summary := summarise(rows, work, ModelShape.of(run.loaded.model)):
        run.cells.append(summary)


def _keep(run: _Run, work: Workload, timings: dict[str, list[Timing]], missing: dict[str, str]) -> dict[str, BenchRow]:
    """The cell's rows, of the methods that had their turn."""
    shape = ModelShape.of(run.loaded.model)
    rows: dict[str, BenchRow] = {}
    for method, rounds in timings.items():
        if method in missing:
            rows[method] = missing_row(method, work.cell, missing[method])
        elif rounds:
            rows[method] = make_row(method, best_of(rounds), work, shape, run.peak, run.references[work.cell])
    for row in rows.values():
        run.rows.append(row)
        run.watcher.row(row)
    return rows


def _measure(run: _Run, work: Workload, method: str, cases: int) -> Timing | str:
    """What one round measured, or why it did not; ``cases`` as the engine's first round had them, or 0."""
    settings = run.settings
    gc.collect()
    if method != "dspy-server":
        options = TimingOptions(settings.seconds / settings.rounds, settings.batch, settings.batch_tokens)
        return methods.time_method(method, run.loaded, work, options, cases)
    if isinstance(run.server, str):
        return run.server
    try:
        return dspy_server.time_dspy_server(work, run.server, run.loaded.tokenizer, cases or len(work))
    except EngineError as refusal:
        return str(refusal).rstrip(".")


def _result(run: _Run, peaks: list[float], complete: bool) -> EngineBenchResult:
    # The ceiling is what the device can do, not what it happened to do once: shares are of the better measurement.
    correction = run.peak / max(peaks)
    rows = [
        row.model_copy(
            update={
                name: value * correction
                for name in ("share_of_peak", "marginal_share_of_peak")
                if (value := getattr(row, name)) is not None
            }
        )
        for row in run.rows
    ]
    device = _device(run.loaded)
    dtype = str(next(run.loaded.model.parameters()).dtype).removeprefix("torch.")
    engine = LocalEngine(LocalEngineSettings(run.loaded.name, device=str(device), dtype=dtype), run.loaded)
    card = engine.describe()
    engine.close()
    return EngineBenchResult(
        settings=run.settings,
        card={**card.to_dict(), "fingerprint": card.fingerprint},
        versions=versions(_PACKAGES),
        machine=machine_facts(device),
        peak_gflops=tuple(peak / 1e9 for peak in peaks),
        complete=complete,
        rows=tuple(rows),
        cells=tuple(run.cells),
    )


def _device(loaded: LoadedModel) -> torch.device:
    device: torch.device = next(loaded.model.parameters()).device
    return device
