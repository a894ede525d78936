"""Measures what sharing the prefix is worth: this engine against two plain ways of scoring the same cases.

    python scripts/bench_engine.py [--model NAME] [--prefix 512] [--item 24] [--json FILE]

All methods score the same cases on the same loaded model in one run, after a warm-up, and answer the same question:
the probability of the first of two labels. (a) one sequence per case, (b) padded batches without sharing, (c) the
engine. Slow methods may time fewer cases than (c); judgements per second are comparable all the same, since every case
costs alike. The largest difference in probability is over the cases that both methods scored.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from promptopt.engines.base import LabelQuery, Segment
from promptopt.engines.hardware import choose_device, choose_dtype
from promptopt.engines.loading import LoadedModel, load_model
from promptopt.engines.local import LocalEngine, LocalEngineSettings
from promptopt.errors import UserError
from promptopt.judges.catalog import CATALOG, pull

LABELS = ("violates", "allowed")
WORDS = (
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
)


@dataclass(frozen=True)
class Measurement:
    """One method's cost.

    Attributes:
        method: What was done.
        cases: Cases timed.
        tokens_computed: Tokens that went through the model for them.
        seconds: Wall time, the best of the repeats.
        judgements_per_second: Cases over seconds.
    """

    method: str
    cases: int
    tokens_computed: int
    seconds: float
    judgements_per_second: float


def make_queries(engine: LocalEngine, tokenizer: Any, options: argparse.Namespace) -> list[LabelQuery]:
    """Cases of about ``--item`` tokens after a policy that brings the shared prefix to ``--prefix`` tokens."""
    rng = np.random.default_rng(0)
    overhead = engine.count_tokens([_query("", "")]).prefix
    policy = _text(tokenizer, rng, options.prefix - overhead)
    return [_query(policy, _text(tokenizer, rng, options.item)) for _ in range(options.cases)]


def _query(policy: str, text: str) -> LabelQuery:
    segments = (Segment("system", policy), Segment("user", "Text: "), Segment("user", text, from_case=True))
    return LabelQuery(segments, LABELS)


def _text(tokenizer: Any, rng: np.random.Generator, tokens: int) -> str:
    """Random words that make up a number of tokens, or one or two more where words are long."""
    words: list[str] = []
    while len(tokenizer(" ".join(words), add_special_tokens=False)["input_ids"]) < tokens:
        words.append(str(rng.choice(WORDS)))
    return " ".join(words)


def plain_scores(loaded: LoadedModel, engine: LocalEngine, queries: Sequence[LabelQuery], batch: int) -> np.ndarray:
    """Probability of the first label from plain padded forward passes of ``batch`` sequences each."""
    first = [ids[0] for ids in engine._tokens.label_ids(LABELS)]
    sequences = [[t for s in engine._tokens.stretches(q.segments) for t in s.ids] for q in queries]
    device = next(loaded.model.parameters()).device
    out = []
    for start in range(0, len(sequences), batch):
        part = sequences[start : start + batch]
        longest = max(map(len, part))
        ids = torch.tensor([s + [0] * (longest - len(s)) for s in part], device=device)
        mask = torch.tensor([[1] * len(s) + [0] * (longest - len(s)) for s in part], device=device)
        with torch.inference_mode():
            states = loaded.model.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            last = states[torch.arange(len(part)), mask.sum(1) - 1]
            logits = last.float() @ loaded.model.get_output_embeddings().weight[first].float().T
        out.append(torch.softmax(logits, -1)[:, 0].cpu().numpy())
    return np.concatenate(out)


def measure(name: str, run: Callable[[], int], cases: int, repeats: int) -> Measurement:
    """The best of some timed runs; ``run`` returns the tokens it computed."""
    best, tokens = float("inf"), 0
    for _ in range(repeats):
        began = time.perf_counter()
        tokens = run()
        best = min(best, time.perf_counter() - began)
    return Measurement(name, cases, tokens, best, cases / best)


def benchmark(options: argparse.Namespace) -> dict[str, Any]:
    """Runs the three methods and returns their measurements, the ratios and the largest differences."""
    device = choose_device(options.device)
    dtype = choose_dtype(options.dtype, device)
    source = str(pull(options.model)) if options.model in CATALOG else options.model
    plain = load_model(source, revision="", device=device, dtype=dtype)
    own = load_model(source, revision="", device=device, dtype=dtype)
    settings = LocalEngineSettings(
        source, device=options.device, dtype=options.dtype, batch_tokens=options.batch_tokens
    )
    # One engine per run, opened beforehand: each run has to compute the prefix, and none has to load anything.
    warm, *engines = (LocalEngine(settings, own) for _ in range(options.repeats + 1))
    queries = make_queries(warm, own.tokenizer, options)
    counted = warm.count_tokens(queries)
    item = counted.marginal / len(queries)
    sequence = counted.prefix + round(item)
    single, padded = queries[: options.single_cases], queries[: options.padded_cases]
    answers: dict[str, np.ndarray] = {}

    def run_single() -> int:
        answers["a"] = plain_scores(plain, warm, single, 1)
        return len(single) * sequence

    def run_padded() -> int:
        answers["b"] = plain_scores(plain, warm, padded, options.padded_batch)
        return len(padded) * sequence

    def run_shared() -> int:
        scores = engines.pop().score(queries)
        answers["c"] = np.exp(scores.logprobs[:, 0])
        return scores.usage.tokens_computed

    plain_scores(plain, warm, queries[:2], 2)
    warm.score(queries[:64])
    rows = [
        measure("(a) one sequence per case", run_single, len(single), options.repeats),
        measure(f"(b) padded batches of {options.padded_batch}", run_padded, len(padded), options.repeats),
        measure("(c) this engine, shared prefix", run_shared, len(queries), options.repeats),
    ]
    rates = [row.judgements_per_second for row in rows]
    return {
        "model": warm.describe().model,
        "dtype": str(dtype).removeprefix("torch."),
        "device": device.type,
        "threads": torch.get_num_threads(),
        "processors": os.cpu_count(),
        "platform": platform.platform(),
        "torch": torch.__version__,
        "prefix_tokens": counted.prefix,
        "marginal_tokens": item,
        "measurements": [asdict(row) for row in rows],
        "ratio_to_one_sequence": rates[2] / rates[0],
        "ratio_to_padded": rates[2] / rates[1],
        "ideal_ratio": len(queries) * sequence / (counted.prefix + counted.marginal),
        "largest_difference": {"b": _difference(answers, "b"), "c": _difference(answers, "c")},
    }


def _difference(answers: dict[str, np.ndarray], method: str) -> float:
    """Largest difference in probability from (a), over the cases that both methods scored."""
    both = min(len(answers[method]), len(answers["a"]))
    return float(np.abs(answers[method][:both] - answers["a"][:both]).max())


def show(result: dict[str, Any], console: Console) -> None:
    """Prints the result as a table."""
    title = (
        f"{result['model']}, {result['dtype']} on {result['device']}, {result['threads']} threads: prefix "
        f"{result['prefix_tokens']} tokens, {result['marginal_tokens']:.1f} more per case"
    )
    table = Table("method", "cases", "tokens computed", "seconds", "judgements/s", title=title)
    for row in result["measurements"]:
        table.add_row(
            row["method"],
            f"{row['cases']:,}",
            f"{row['tokens_computed']:,}",
            f"{row['seconds']:.2f}",
            f"{row['judgements_per_second']:.1f}",
        )
    console.print(table)
    console.print(
        f"(c) against (a): {result['ratio_to_one_sequence']:.1f}x; against (b): {result['ratio_to_padded']:.1f}x; "
        f"tokens alone would give {result['ideal_ratio']:.1f}x against either."
    )
    worst = result["largest_difference"]
    console.print(f"Largest difference in probability from (a): (b) {worst['b']:.1e}, (c) {worst['c']:.1e}.")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="smollm2-135m", help="catalog name, hub id or folder")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--prefix", type=int, default=512, help="tokens before the case")
    parser.add_argument("--item", type=int, default=24, help="tokens of a case")
    parser.add_argument("--cases", type=int, default=256, help="cases that the engine is timed on")
    parser.add_argument("--single-cases", type=int, default=12, help="cases that (a) is timed on")
    parser.add_argument("--padded-cases", type=int, default=32, help="cases that (b) is timed on")
    parser.add_argument("--padded-batch", type=int, default=16, help="sequences per forward pass of (b)")
    parser.add_argument("--batch-tokens", type=int, default=2048, help="tokens per forward pass of the engine")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each method; the best counts")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    options = parser.parse_args()
    try:
        result = benchmark(options)
    except UserError as mistake:
        Console(stderr=True).print(str(mistake), markup=False)
        return 2
    show(result, Console())
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
