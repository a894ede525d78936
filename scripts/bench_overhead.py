"""What share of a sweep's wall time do sampler, races and bookkeeping cost with the default judge?

    python scripts/bench_overhead.py [--judgements 600,1500] [--shapes direct,verbalized] [--json FILE]

Sweeps of the abuse domain in races, on a score store of their own, so that every judgement is computed. The share is
all that happens outside the engine, fitting weights and opening the study's database included, but for the benchmark's
own counting of tokens, which a sweep does not do. Other work on the machine makes the engine slower and the share
smaller: run it by itself.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from promptopt.bench.search_bench import BenchPlan, SearchCell, run_search_bench
from promptopt.bench.search_methods import OWN
from promptopt.bench.search_tasks import TaskFile
from promptopt.errors import UserError

TASK = "abuse"
OVERRIDES = (
    "program=direct",
    "program.policies=[none,summary,titles,definitions]",
    "program.seed.policy=definitions",
    "program.demos.counts=[0,2,4]",
    "program.demos.max_chars=160",
    "judge.max_item_tokens=48",
    "search.demo_pool=30",
    "search.proposers.shares={sampler: 0.3, grammar: 0.5, crossover: 0.2}",
    "tracking=none",
)


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; a user's mistake is one sentence and exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--judgements", default="600,1500", help="budgets of the sweeps")
    parser.add_argument("--shapes", default="direct,verbalized", help="shapes of the programs")
    parser.add_argument("--judge", default="smollm2_135m")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    rows = []
    try:
        for shape in options.shapes.split(","):
            for judgements in map(int, options.judgements.split(",")):
                rows.append(row(shape, sweep(shape, judgements, options.judge)))
    except UserError as error:
        print(f"bench_overhead: {error}", file=sys.stderr)
        return 2
    show(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    return 0


def sweep(shape: str, judgements: int, judge: str) -> SearchCell:
    """One sweep from nothing."""
    with tempfile.TemporaryDirectory() as folder:
        file = TaskFile(
            judgements=judgements,
            search_cases=100,
            calibration_cases=10,
            test_cases=10,
            overrides=(*OVERRIDES, f"judge={judge}", f"runs_dir='{folder}'"),
            tasks={TASK: (f"domain={TASK}",)},
        )
        plan = BenchPlan(file, (f"{OWN}@{shape}",), (0,), Path(folder))
        (cell,) = run_search_bench(plan, lambda line: print(line, file=sys.stderr, flush=True))
    return cell


def row(shape: str, cell: SearchCell) -> dict[str, object]:
    """What a sweep's time went into."""
    apart = cell.seconds - cell.engine_seconds
    return {
        "shape": shape,
        "judgements": cell.judgements,
        "seconds": round(cell.seconds, 2),
        "outside_engine": round(apart, 2),
        "share": round(apart / cell.seconds, 4),
    }


def show(rows: list[dict[str, object]]) -> None:
    """The table, for people."""
    table = Table("programs", "judgements", "s", "outside the engine, s", "share")
    for one in rows:
        table.add_row(*(f"{value:.2%}" if name == "share" else f"{value}" for name, value in one.items()))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
