"""``promptopt bench engine``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from promptopt.bench.engine_bench import EngineBenchResult, EngineBenchSettings, Watcher, run_engine_bench
from promptopt.bench.report import CsvRows, write_page
from promptopt.bench.rows import METHODS, BenchRow, CellSummary
from promptopt.bench.workload import Cell
from promptopt.commands.output import console, count, error_console, print_json, table
from promptopt.errors import ConfigError

FULL_GRID = {"prefix": (512, 1024, 2048), "item": (24, 100, 300), "variants": (1, 8, 32)}
_QUIET = 1.15
ROWS_FILE, RESULT_FILE, PAGE_FILE = "rows.csv", "result.json", "report.html"


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """The command's options; lists are comma-separated, and None leaves a default alone."""

    model: str
    prefix: str | None
    item: str | None
    variants: str | None
    methods: str | None
    server_threads: str | None
    full: bool
    seconds: float
    rounds: int
    cases: int
    batch: int
    batch_tokens: int
    threads: int
    device: str
    dtype: str
    gguf: Path | None
    out: Path


def bench_engine(request: BenchRequest, as_json: bool) -> None:
    """Measures, prints and writes; after Ctrl-C, what there is."""
    settings = _settings(request)
    request.out.mkdir(parents=True, exist_ok=True)
    rows = CsvRows(request.out / ROWS_FILE)
    once = "dspy-server" in settings.methods
    steps = len(settings.cells) * ((len(settings.methods) - once) * settings.rounds + once + 1)
    with _Progress(error_console(), steps) as progress:
        watcher = Watcher(tell=progress.tell, begins=progress.begins, row=rows.append)
        result = run_engine_bench(settings, watcher)
    rows.replace(result.rows)
    (request.out / RESULT_FILE).write_text(result.model_dump_json(indent=2) + "\n", encoding="utf-8")
    write_page(result, request.out / PAGE_FILE)
    if as_json:
        print_json({**json.loads(result.model_dump_json()), "out": str(request.out)})
    else:
        _print(result, request.out)
    if not result.complete:
        raise KeyboardInterrupt


def _settings(request: BenchRequest) -> EngineBenchSettings:
    grid = {}
    for name, default in EngineBenchSettings.model_fields.items():
        if name not in FULL_GRID:
            continue
        given = getattr(request, name)
        usual = FULL_GRID[name] if request.full else default.default
        grid[name] = _numbers(given, f"--{name}") if given else usual
    threads = _numbers(request.server_threads, "--server-threads") if request.server_threads else (1, 4, 16)
    try:
        return EngineBenchSettings(
            model=request.model,
            **grid,
            methods=_methods(request.methods),
            seconds=request.seconds,
            rounds=request.rounds,
            cases=request.cases,
            batch=request.batch,
            batch_tokens=request.batch_tokens,
            server_threads=threads,
            threads=request.threads,
            device=request.device,
            dtype=request.dtype,
            gguf=request.gguf,
        )
    except ValidationError as cause:
        first = cause.errors()[0]
        where = "--" + str(first["loc"][0]).replace("_", "-")
        raise ConfigError(
            f"{first['msg'][0].lower()}{first['msg'][1:]}, found {first['input']!r}", where=where
        ) from cause


def _numbers(text: str, option: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and int(part) > 0 for part in parts):
        raise ConfigError(
            f"expected whole numbers above 0 with commas between them, found {text!r}",
            where=option,
            remedy="write for example 512,1024",
        )
    return tuple(dict.fromkeys(int(part) for part in parts))


def _methods(text: str | None) -> tuple[str, ...]:
    chosen = tuple(part.strip() for part in text.split(",")) if text else METHODS
    if unknown := [name for name in chosen if name not in METHODS]:
        raise ConfigError(f"no method {unknown[0]!r}", where="--methods", remedy=f"choose from {', '.join(METHODS)}")
    return chosen


class _Progress:
    """A bar on standard error; lines where that is no terminal."""

    def __init__(self, shown_on: Console, steps: int) -> None:
        self._console = shown_on
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._progress = Progress(
            *columns, TimeElapsedColumn(), console=shown_on, transient=True, disable=not shown_on.is_terminal
        )
        self._task = self._progress.add_task("loading the model", total=steps)
        self._begun = 0

    def __enter__(self) -> _Progress:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._progress.stop()

    def tell(self, what: str) -> None:
        self._console.print(what, style="dim", markup=False)

    def begins(self, cell: Cell, method: str) -> None:
        what = f"{cell}: {method}"
        self._progress.update(self._task, description=escape(what), completed=self._begun, refresh=True)
        self._begun += 1
        if not self._console.is_terminal:
            self._console.print(what, style="dim", markup=False)


def _print(result: EngineBenchResult, out: Path) -> None:
    shown, machine = console(), result.machine
    peaks = " and ".join(f"{peak:,.0f}" for peak in result.peak_gflops)
    shown.print(
        f"{result.card['model']}, {result.card['dtype']} on {machine['name']} ({machine['device']}, "
        f"{machine['threads']} threads); measured matrix multiplication {peaks} GFLOP/s",
        markup=False,
    )
    if max(result.peak_gflops) > _QUIET * min(result.peak_gflops):
        shown.print("The two differ: other work ran on this machine, and figures may not compare.", style="yellow")
    for place in dict.fromkeys(row.cell for row in result.rows):
        shown.print(f"\n[bold]{escape(str(place))}[/]")
        rows = [row for row in result.rows if row.cell == place]
        shown.print(_speeds([row for row in rows if not row.note]))
        for row in rows:
            if row.note:
                shown.print(f"{row.method}: {row.note}", markup=False)
            elif row.client_threads:
                threads = count(row.client_threads, "client thread")
                unread = f"{row.failures:,} of {row.cases:,} answers could not be read"
                shown.print(f"{row.method}: fastest with {threads}; {unread}", markup=False)
        for summary in result.cells:
            if summary.cell == place:
                _print_summary(summary, shown)
    shown.print(f"\nwritten to {out}: {ROWS_FILE}, {RESULT_FILE}, {PAGE_FILE}", soft_wrap=True, markup=False)


def _speeds(rows: list[BenchRow]) -> Table:
    shown = table(
        "", "cases", "/s", "/s, prefix\napart", "tokens\neach", "saved", "GFLOP/s", "of peak", "MiB", "CPU ms", "|dp|",
        "agree", "overhead", wrap=False,
    )  # fmt: skip
    for row in rows:
        shown.add_row(
            row.method,
            f"{row.cases:,}",
            _figure(row.judgements_per_second),
            _figure(row.marginal_judgements_per_second),
            _figure(row.tokens_per_judgement),
            _percent(row.tokens_saved),
            _figure(row.gflops),
            _percent(row.share_of_peak),
            "-" if row.peak_memory_mib is None else f"{row.peak_memory_mib:,.0f}",
            _figure(row.client_cpu_ms),
            "-" if row.largest_difference is None else f"{row.largest_difference:.0e}",
            _percent(row.agreement),
            _percent(row.overhead, 1),
        )
    return shown


def _print_summary(summary: CellSummary, shown: Console) -> None:
    excess = summary.tokens_computed / summary.trie_edges - 1
    for method, peer in summary.peers.items():
        ideal = ""
        if peer.ideal_marginal_ratio and peer.marginal_share_of_ideal:
            ideal = f": {peer.marginal_share_of_ideal:.0%} of the operations' {peer.ideal_marginal_ratio:.1f}x"
        shown.print(
            f"{peer.marginal_ratio:.1f}x {method}{ideal}; {peer.ratio:.1f}x with the prefix counted",
            markup=False,
        )
    shown.print(f"tokens computed: {excess:+.1%} against the trie's {summary.trie_edges:,} edges", markup=False)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _percent(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:.{digits}%}"
