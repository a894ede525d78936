"""Does a score depend on its company, or on the number format? Measures both on the golden sets that ship.

    python scripts/bench_numerics.py [--cases 40] [--json FILE]

The seed prompt of every domain is asked about cases of the search split on the default judge. float32: the whole set in
one call against smaller and larger batches, another order, one case per call, several prompts in one call, and one
plain sequence per case without any sharing. bfloat16: against float32. A verdict changes when a probability crosses the
threshold: 0.5, and the operating point of the best F1 on the float32 scores, as a sweep would choose it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from promptopt.config import load_config
from promptopt.core.case import Label, Split
from promptopt.core.prompt import ITEM_SLOT
from promptopt.engines.base import JudgeEngine, LabelQuery
from promptopt.engines.hardware import choose_device, choose_dtype
from promptopt.engines.loading import load_model
from promptopt.engines.local import LocalEngine, LocalEngineSettings
from promptopt.errors import UserError
from promptopt.golden.reader import read_golden_set
from promptopt.judges.catalog import CATALOG, pull
from promptopt.metrics.operating_point import choose_threshold
from promptopt.policy.asking import bind
from promptopt.policy.reader import read_policy
from promptopt.search.candidates import CandidateMaker

ROOT = Path(__file__).parents[1]
DOMAINS = ("abuse", "political", "self_harm", "sexual", "violence")
Probabilities = npt.NDArray[np.float64]


def domain_queries(domain: str, cases: int) -> tuple[list[LabelQuery], npt.NDArray[np.bool_]]:
    """The seed prompt asked about the first cases of a domain's search split, and which of them are violations."""
    policy = read_policy(ROOT / "data" / "policies" / f"{domain}.yaml")
    golden = read_golden_set(ROOT / "data" / "golden" / domain)
    space = load_config([f"domain={domain}"]).space
    maker = CandidateMaker(policy, space, ())
    prompt = maker.program(maker.candidate(space.seed_point())).lower()[0]
    chosen = golden.split(Split.SEARCH)[:cases]
    truth = np.array([case.label is Label.VIOLATION for case in chosen])
    return [bind(prompt, {ITEM_SLOT: case.text}) for case in chosen], truth


def probabilities(engine: JudgeEngine, queries: Sequence[LabelQuery]) -> Probabilities:
    """Probability of each query's first label."""
    scores = engine.score(queries)
    if scores.unjudged:
        raise UserError(f"{len(scores.unjudged)} cases got no verdict", remedy="choose a judge with a longer context")
    return np.exp(scores.logprobs[:, 0].astype(np.float64))


def compare(p: Probabilities, reference: Probabilities, threshold: float) -> dict[str, float | int]:
    """Largest difference, and how many verdicts change at 0.5 and at the threshold."""
    return {
        "cases": len(p),
        "largest_difference": float(np.abs(p - reference).max()),
        "changed_at_half": int(((p >= 0.5) != (reference >= 0.5)).sum()),
        "changed_at_threshold": int(((p >= threshold) != (reference >= threshold)).sum()),
    }


def measure(options: argparse.Namespace) -> dict[str, dict[str, float | int]]:
    """Every way of computing, against float32 in one call."""
    source = str(pull(options.model)) if options.model in CATALOG else options.model
    device = choose_device("cpu")
    loaded = load_model(source, revision="", device=device, dtype=choose_dtype("float32", device))

    def engine(**changes: object) -> LocalEngine:
        return LocalEngine(LocalEngineSettings(source, device="cpu", dtype="float32", **changes), loaded)  # type: ignore[arg-type]

    rows: dict[str, list[dict[str, float | int]]] = {}
    sets = {domain: domain_queries(domain, options.cases) for domain in DOMAINS}
    whole = {domain: probabilities(engine(), queries) for domain, (queries, _) in sets.items()}
    thresholds = {domain: choose_threshold(truth, whole[domain], "f1").threshold for domain, (_, truth) in sets.items()}
    mixed = np.split(
        probabilities(engine(), [q for queries, _ in sets.values() for q in queries]),
        np.cumsum([len(queries) for queries, _ in sets.values()])[:-1],
    )
    for number, (domain, (queries, _)) in enumerate(sets.items()):
        order = np.random.default_rng(0).permutation(len(queries))
        shuffled = np.empty(len(queries))
        shuffled[order] = probabilities(engine(), [queries[i] for i in order])
        single = engine()
        found = {
            "batches of 64 tokens": probabilities(engine(batch_tokens=64), queries),
            "batches of 4,096 tokens": probabilities(engine(batch_tokens=4096), queries),
            "another order": shuffled,
            "one case per call": np.concatenate([probabilities(single, [q]) for q in queries]),
            "five prompts in one call": mixed[number],
        }
        for name, p in found.items():
            rows.setdefault(name, []).append(compare(p, whole[domain], thresholds[domain]))
    for domain, (queries, _) in sets.items():  # the plain path resets the model's attention, so it comes last
        few = queries[: options.plain]
        plain = probabilities(engine(packed=False, batch_tokens=1), few)
        row = compare(plain, whole[domain][: len(few)], thresholds[domain])
        rows.setdefault("one plain sequence per case", []).append(row)
    half = LocalEngine(LocalEngineSettings(source, device="cpu", dtype="bfloat16"))
    for domain, (queries, _) in sets.items():
        row = compare(probabilities(half, queries), whole[domain], thresholds[domain])
        rows.setdefault("bfloat16", []).append(row)
    return {name: _total(parts) for name, parts in rows.items()}


def _total(parts: Sequence[dict[str, float | int]]) -> dict[str, float | int]:
    sums = {key: sum(part[key] for part in parts) for key in ("cases", "changed_at_half", "changed_at_threshold")}
    return {**sums, "largest_difference": max(part["largest_difference"] for part in parts)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="smollm2-135m", help="catalog name, hub id or folder")
    parser.add_argument("--cases", type=int, default=40, help="cases of each domain")
    parser.add_argument("--plain", type=int, default=6, help="cases of each domain for the plain sequences")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    options = parser.parse_args()
    try:
        rows = measure(options)
    except UserError as mistake:
        Console(stderr=True).print(str(mistake), markup=False)
        return 2
    table = Table("against float32 in one call", "cases", "largest |dp|", "verdicts changed at 0.5", "at best F1")
    for name, row in rows.items():
        changed = (f"{row[key]} ({row[key] / row['cases']:.1%})" for key in ("changed_at_half", "changed_at_threshold"))
        table.add_row(name, f"{row['cases']}", f"{row['largest_difference']:.1e}", *changed)
    Console().print(table)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps({"model": options.model, "rows": rows}, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
