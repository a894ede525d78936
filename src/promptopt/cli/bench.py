"""``promptopt bench``: measurements."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptopt.cli.options import Json

app = typer.Typer(no_args_is_help=True)


@app.callback()
def bench() -> None:
    """Measure the judge's engine, and the search, against other ways."""


@app.command("engine")
def bench_engine(
    model: Annotated[str, typer.Option(help="Catalog name, hub id or folder.")] = "smollm2-135m",
    prefix: Annotated[str | None, typer.Option(help="Tokens before the case: 512,1024 by default.")] = None,
    item: Annotated[str | None, typer.Option(help="Tokens of a case: 24,100 by default.")] = None,
    variants: Annotated[str | None, typer.Option(help="Prompts that share 75% of the prefix: 1,8 by default.")] = None,
    full: Annotated[bool, typer.Option("--full", help="The whole grid: 0.5k/1k/2k x 24/100/300 x 1/8/32.")] = False,
    methods: Annotated[
        str | None, typer.Option(help="Some of engine,sequence,padded,dynamic-cache,dspy-server.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Time for each figure of each method and cell.")] = 20.0,
    rounds: Annotated[
        int, typer.Option(help="Rounds to divide the time into; methods take turns, the best counts.")
    ] = 3,
    cases: Annotated[int, typer.Option(help="Judgements of a cell; fewer are timed where time is short.")] = 512,
    batch: Annotated[int, typer.Option(help="Sequences per padded batch.")] = 16,
    batch_tokens: Annotated[int, typer.Option(help="Tokens per forward pass of the engine; 0 chooses.")] = 0,
    server_threads: Annotated[str, typer.Option(help="Numbers of DSPy threads to try; the fastest counts.")] = "1,4,16",
    threads: Annotated[int, typer.Option(help="Processor threads; 0 for torch's choice.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")] = "auto",
    gguf: Annotated[Path | None, typer.Option(help="The model as GGUF, for dspy-server; the catalog's if any.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for rows.csv, result.json and report.html.")] = Path(
        "runs/bench-engine"
    ),
    as_json: Json = False,
) -> None:
    """Time this engine side by side with plain scoring, DynamicCache, and DSPy with llama.cpp's server."""
    from promptopt.commands.bench import BenchRequest
    from promptopt.commands.bench import bench_engine as run

    grid = (prefix, item, variants, methods, server_threads, full)
    run(
        BenchRequest(model, *grid, seconds, rounds, cases, batch, batch_tokens, threads, device, dtype, gguf, out),
        as_json,
    )


@app.command("search")
def bench_search(
    matrix: Annotated[
        Path | None, typer.Option("--matrix", help="Replay on a score matrix, made by scripts/score_matrix.py.")
    ] = None,
    tasks: Annotated[
        Path | None, typer.Option("--tasks", help="Search end to end on the tasks of this YAML file.")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(help="Some methods, or policies of a replay, divided by commas; all by default."),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(help="Replays (30), each with its own candidates and orders, or searches (3).")
    ] = None,
    budget: Annotated[float, typer.Option(help="Replay: judgements allowed, as a share of the full grid.")] = 0.1,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the results; runs/bench-search, or runs/bench-search-tasks.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Compare ways of searching at equal numbers of judgements: replayed on stored scores, or end to end."""
    from promptopt.commands.bench_search import SearchBenchRequest
    from promptopt.commands.bench_search import bench_search as run

    run(SearchBenchRequest(matrix, tasks, methods, seeds, budget, out), as_json)
