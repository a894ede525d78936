"""Measures Ray actors against the local engine on the same cores, and kills an actor in the middle of a run.

    python scripts/bench_ray.py [--actors 2] [--threads 2] [--prompts 2] [--cases 256] [--json FILE]

Both engines score the same prompts and cases in turn, in one run, after a warm-up; the best of the repeats counts. Each
repeat has prompts of its own, so both compute every prompt, as a search does. Then one actor is killed while the actors
score the last repeat's queries again, and the scores are compared with those of the undisturbed run.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from promptopt.engines.base import JudgeEngine, LabelQuery, LabelScores, Segment
from promptopt.engines.ray.engine import RayEngine, RayEngineSettings
from promptopt.errors import UserError
from promptopt.judges.config import JudgeConfig
from promptopt.judges.factory import open_engine

LABELS = ("violates", "allowed")
WORDS = [
    "rule",
    "says",
    "text",
    "threatens",
    "person",
    "not",
    "allowed",
    "while",
    "news",
    "about",
    "threats",
    "may",
    "stay",
]


def make_queries(options: argparse.Namespace, repeat: int) -> list[LabelQuery]:
    """Prompts of about ``--prefix`` tokens that no other repeat has, each with the same cases of about ``--item``."""
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(WORDS, int(rng.integers(1, 2 * options.item)))) for _ in range(options.cases)]
    queries = []
    for prompt in range(options.prompts):
        policy = f"Policy {repeat}.{prompt}: " + " ".join(rng.choice(WORDS, options.prefix))
        head = (Segment("system", policy), Segment("user", "Text: "))
        queries += [LabelQuery((*head, Segment("user", text, from_case=True)), LABELS) for text in texts]
    return queries


def timed(engine: JudgeEngine, queries: list[LabelQuery]) -> tuple[float, LabelScores]:
    """Wall seconds of a call and what it returned."""
    began = time.perf_counter()
    scores = engine.score(queries)
    return time.perf_counter() - began, scores


def score_and_kill(engine: RayEngine, queries: list[LabelQuery], after: float) -> tuple[float, LabelScores, bool]:
    """Scores the queries while the first actor is killed some seconds later; says whether it was at work then."""
    import ray

    before = engine.actors
    killer = threading.Timer(after, ray.kill, [before[0]])
    killer.start()
    seconds, scores = timed(engine, queries)
    killer.join()
    return seconds, scores, engine.actors[0] != before[0]


def compare(found: LabelScores, expected: LabelScores) -> dict[str, Any]:
    """How far two sets of scores of the same queries differ, over the rows that both judged."""
    both = [row for row in range(len(expected.logprobs)) if row not in {*found.unjudged, *expected.unjudged}]
    p, q = (np.exp(scores.logprobs[both].astype(np.float64)) for scores in (found, expected))
    return {
        "rows": len(both),
        "unjudged": len(found.unjudged),
        "largest_difference": float(np.abs(p - q).max()),
        "other_verdicts": int((p.argmax(1) != q.argmax(1)).sum()),
    }


def benchmark(options: argparse.Namespace) -> dict[str, Any]:
    """Runs everything and returns the figures."""
    torch.set_num_threads(options.threads)
    judge = JudgeConfig(name="bench", model=options.model, dtype=options.dtype, batch_tokens=options.batch_tokens)
    local = open_engine(judge)
    layout = RayEngineSettings(actors=options.actors, cpus_per_actor=options.threads_per_actor)
    actors = RayEngine(partial(open_engine, judge), layout)
    try:
        for engine in (local, actors):
            engine.score(make_queries(options, -1)[: 64 * options.actors])
        seconds: dict[str, list[float]] = {"local": [], "ray": []}
        for repeat in range(options.repeats):
            queries = make_queries(options, repeat)
            order = [("local", local), ("ray", actors)]
            scores = {}
            for name, engine in order[:: -1 if repeat % 2 else 1]:
                spent, scores[name] = timed(engine, queries)
                seconds[name].append(spent)
        best = {name: min(values) for name, values in seconds.items()}
        spent, disturbed, hit = score_and_kill(actors, queries, options.kill_at * best["ray"])
        return {
            "model": local.describe().model,
            "dtype": local.describe().dtype,
            "device": local.describe().device,
            "platform": platform.platform(),
            "processors": os.cpu_count(),
            "torch": torch.__version__,
            "queries": len(queries),
            "local": {"threads": options.threads, "seconds": seconds["local"], **_usage(scores["local"])},
            "ray": {"actors": options.actors, "seconds": seconds["ray"], **_usage(scores["ray"])},
            "queries_per_second": {name: len(queries) / value for name, value in best.items()},
            "ratio": best["local"] / best["ray"],
            "ray_against_local": compare(scores["ray"], scores["local"]),
            "kill": {
                "hit": hit,
                "seconds": spent,
                "queries_counted": disturbed.usage.queries,
                **compare(disturbed, scores["ray"]),
            },
        }
    finally:
        actors.close()
        local.close()


def _usage(scores: LabelScores) -> dict[str, Any]:
    usage = scores.usage
    return {"tokens_computed": usage.tokens_computed, "model_seconds": usage.model_seconds}


def show(result: dict[str, Any], console: Console) -> None:
    """Prints the result as two tables."""
    rates = result["queries_per_second"]
    title = f"{result['model']}, {result['dtype']} on {result['device']}: {result['queries']:,} queries"
    table = Table("engine", "seconds", "queries/s", "tokens computed", title=title)
    for name, key, unit in (("local", "local", "threads"), ("Ray", "ray", "actors")):
        row = result[key]
        label = f"{name}, {row[unit]} {unit}"
        table.add_row(label, f"{min(row['seconds']):.2f}", f"{rates[key]:.1f}", f"{row['tokens_computed']:,}")
    console.print(table)
    console.print(f"Ray against local: {result['ratio']:.2f}x")
    table = Table("compared", "rows", "unjudged", "largest difference of probability", "other verdicts")
    for label, key in (("Ray and local", "ray_against_local"), ("Ray with and without a kill", "kill")):
        row = result[key]
        difference = f"{row['largest_difference']:.1e}"
        table.add_row(label, f"{row['rows']:,}", str(row["unjudged"]), difference, str(row["other_verdicts"]))
    console.print(table)
    kill = result["kill"]
    console.print(
        f"With a kill: {kill['seconds']:.2f} s, {kill['queries_counted']:,} queries counted; the actor was "
        f"{'replaced' if kill['hit'] else 'NOT at work when it was killed'}."
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="smollm2-135m", help="catalog name, hub id or folder")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--batch-tokens", type=int, default=512, help="tokens per forward pass")
    parser.add_argument("--threads", type=int, default=2, help="threads of the local engine")
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--threads-per-actor", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=2, help="prompts of each repeat")
    parser.add_argument("--prefix", type=int, default=450, help="words before the case, about as many tokens")
    parser.add_argument("--cases", type=int, default=256, help="cases that each prompt is asked about")
    parser.add_argument("--item", type=int, default=24, help="words of a case on average")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each engine; the best counts")
    parser.add_argument("--kill-at", type=float, default=0.4, help="when the actor is killed, as a share of a run")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    options = parser.parse_args()
    try:
        result = benchmark(options)
    except UserError as mistake:
        Console(stderr=True).print(str(mistake), markup=False)
        return 2
    show(result, Console())
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
