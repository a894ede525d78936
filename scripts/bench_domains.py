"""Five policies on one case: what does one call for all of them save, and does sharing the item pay?

    python scripts/bench_domains.py [--cases 32] [--rounds 3] [--json FILE]

The seed prompt of every domain, direct and as a checklist, is asked about the same cases of the golden sets, in several
ways that take turns; the fastest round counts, in processor time, which other programs disturb less than the clock.
Without rounds, tokens are counted and no model runs. Policies are computed before. With the item before the policies,
which is another prompt, one computation of the case serves all domains, and every policy has to be computed anew for
every case; that is measured for the direct questions only.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from promptopt.config import load_config
from promptopt.core.case import Split
from promptopt.core.prompt import LoweredPrompt, PromptSegment
from promptopt.engines.base import LabelQuery
from promptopt.engines.local import LocalEngine, LocalEngineSettings
from promptopt.golden.reader import read_golden_set
from promptopt.judges.catalog import CATALOG, pull
from promptopt.policy.asking import queries_for
from promptopt.policy.reader import read_policy
from promptopt.programs.program import JudgementProgram
from promptopt.search.candidates import CandidateMaker

ROOT = Path(__file__).parents[1]
DOMAINS = ("abuse", "political", "self_harm", "sexual", "violence")
Prompts = tuple[LoweredPrompt, ...]
Ask = Callable[[Sequence[str]], list[list[LabelQuery]]]


def prompts(domain: str, shape: str, placement: str) -> Prompts:
    """A domain's seed prompt in a shape, the question before or after the item."""
    policy = read_policy(ROOT / "data" / "policies" / f"{domain}.yaml")
    space = load_config([f"domain={domain}"]).space
    maker = CandidateMaker(policy, space, ())
    point = {**space.seed_point(), "shape": shape, "placement": placement}
    program: JudgementProgram = maker.program(maker.candidate(point))
    return program.lower()


def item_first(prompt: LoweredPrompt) -> LoweredPrompt:
    """The same words with the item before everything else."""
    before, item, after = prompt.segments[:-2], prompt.segments[-2], prompt.segments[-1]
    rest = "\n\n".join(segment.text for segment in before if segment.role == "system")
    opening = PromptSegment(role="user", text=before[-1].text)
    closing = PromptSegment(role="user", text=after.text[:1] + "\n\n" + rest + after.text[1:])
    return prompt.model_copy(update={"segments": (opening, item, closing)})


def ways(shape: str) -> dict[str, Ask]:
    """Name of a way to the engine calls that it makes for some texts."""
    asked = [prompts(domain, shape, "item_first") for domain in DOMAINS]
    late = [prompts(domain, shape, "question_first") for domain in DOMAINS]

    def apart(texts: Sequence[str]) -> list[list[LabelQuery]]:
        return [queries_for(own, texts) for own in asked]

    def together(sets: Sequence[Prompts]) -> Ask:
        return lambda texts: [[query for own in sets for query in queries_for(own, texts)]]

    found: dict[str, Ask] = {
        "domain after domain": apart,
        "all domains in one call": together(asked),
        "one call, item not shared": together(late),
    }
    if shape == "direct":
        found["one call, item before the policies"] = together([tuple(map(item_first, own)) for own in asked])
    return found


def timed(engine: LocalEngine, ask: Ask, texts: Sequence[str], block: int) -> float:
    """Seconds of processor time."""
    began = time.process_time()
    for start in range(0, len(texts), block):
        for queries in ask(texts[start : start + block]):
            engine.score(queries)
    return time.process_time() - began


def tokens_per_case(engine: LocalEngine, ask: Ask, texts: Sequence[str]) -> float:
    """Tokens that go through the model for a case, policies apart, what questions share counted once."""
    return sum(engine.count_tokens(queries).marginal for queries in ask(texts)) / len(texts)


def measure(options: argparse.Namespace) -> list[dict[str, object]]:
    """A row for every shape, block size and way."""
    source = str(pull(options.model)) if options.model in CATALOG else options.model
    engine = LocalEngine(LocalEngineSettings(source, device=options.device))
    sets = [read_golden_set(ROOT / "data" / "golden" / domain).split(Split.SEARCH) for domain in DOMAINS]
    found = [case.text for cases in zip(*sets, strict=False) for case in cases]
    texts = ["\n".join(found[i : i + options.join]) for i in range(0, options.cases * options.join, options.join)]
    rows: list[dict[str, object]] = []
    torch.set_num_threads(1)  # threads that wait for each other would count
    for shape in ("direct", "checklist"):
        asked = ways(shape)
        tokens = {name: tokens_per_case(engine, ask, texts) for name, ask in asked.items()}
        for block in (1, options.cases):
            few = texts[: options.single] if block == 1 else texts
            best = _fastest(engine, asked, few, block, options.rounds)
            rows.extend(
                {
                    "shape": shape,
                    "block": block,
                    "way": name,
                    "cases": len(few),
                    "tokens_per_case": tokens[name],
                    "processor_seconds_per_case": best.get(name),
                }
                for name in asked
            )
    return rows


def _fastest(
    engine: LocalEngine, asked: dict[str, Ask], texts: Sequence[str], block: int, rounds: int
) -> dict[str, float]:
    """Processor seconds for a case in the fastest round of each way; a first round computes the policies."""
    best: dict[str, float] = {}
    for number in range(rounds + 1 if rounds else 0):
        for name, ask in asked.items():
            seconds = timed(engine, ask, texts if number else texts[:1], block) / len(texts)
            if number:
                best[name] = min(seconds, best.get(name, seconds))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="smollm2-135m", help="catalog name, hub id or folder")
    parser.add_argument("--device", default="cpu", help="auto, cpu or cuda")
    parser.add_argument("--cases", type=int, default=32, help="cases of the large block")
    parser.add_argument("--join", type=int, default=1, help="golden texts that make one case")
    parser.add_argument("--single", type=int, default=6, help="cases that are asked about one by one")
    parser.add_argument("--rounds", type=int, default=3, help="rounds; the fastest counts, 0 only counts tokens")
    parser.add_argument("--json", type=Path, help="file to write the numbers to")
    options = parser.parse_args()
    rows = measure(options)
    table = Table("shape", "block", "way", "cases", "tokens per case", "processor seconds per case")
    for row in rows:
        seconds = row["processor_seconds_per_case"]
        told = "-" if seconds is None else f"{seconds:.3f}"
        table.add_row(
            *(str(row[key]) for key in ("shape", "block", "way", "cases")), f"{row['tokens_per_case']:,.1f}", told
        )
    Console().print(table)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
