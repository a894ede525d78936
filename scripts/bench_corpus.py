"""Judges a corpus of short texts in a child process, kills it once, lets it go on, and watches its memory.

Usage: python scripts/bench_corpus.py [--rows 1000000] [--format jsonl] [--bundle FOLDER] [--engine ray] [--json FILE]

Without a bundle one is made for the judge `fake`, so that what is measured is this package and not a model. The child
is `promptopt judge`; it is killed with SIGKILL once a share of the rows is judged, and the same command then goes on.
Memory is the resident set of the child and its children, sampled every second; rows are counted by finished parts.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import psutil

from promptopt.bundle.files import write_bundle
from promptopt.bundle.model import GoldenRecord, ParityCase, PolicyRecord, PromptBundle, SplitScores
from promptopt.core.case import Label, Split
from promptopt.core.prompt import ITEM_SLOT, LoweredPrompt, PromptSegment
from promptopt.engines.fake import FakeEngine
from promptopt.metrics.operating_point import OperatingPoint
from promptopt.policy.asking import answer
from promptopt.policy.model import Action, Clause, Outcome, Rule, When
from promptopt.policy.procedure import DIRECT_QUESTION, Procedure

WORDS = ("the", "a", "news", "of", "about", "people", "rule", "says", "not", "may", "stay", "kill", "hate", "you")
THRESHOLD = 0.6


@dataclass(frozen=True)
class Sample:
    """The child at one moment.

    Attributes:
        seconds: Since it began.
        rows: Rows in finished parts.
        rss_mib: Resident memory of the process and its children, in MiB.
    """

    seconds: float
    rows: int
    rss_mib: float


@dataclass
class Watched:
    """One child process."""

    killed: bool = False
    seconds: float = 0.0
    rows_before: int = 0
    rows_after: int = 0
    samples: list[Sample] = field(default_factory=list)

    @property
    def peak(self) -> float:
        return max((sample.rss_mib for sample in self.samples), default=0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--format", choices=["jsonl", "csv", "parquet"], default="jsonl")
    parser.add_argument("--bundle", type=Path, help="an exported judge; one on the judge `fake` is made by default")
    parser.add_argument("--engine", help="as of `promptopt judge`")
    parser.add_argument("--actors", type=int, help="as of `promptopt judge`")
    parser.add_argument("--part-rows", type=int, default=4096)
    parser.add_argument("--kill-at", type=float, default=0.5, help="share of the rows; 0 lets the first child end")
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder by default")
    parser.add_argument("--json", type=Path, help="write the outcome here")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="corpus-", dir=options.folder))
    try:
        outcome = measure(folder, options)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(json.dumps({key: value for key, value in outcome.items() if key != "samples"}, indent=2))
    if options.json:
        options.json.write_text(json.dumps(outcome, indent=2) + "\n", encoding="utf-8")
    sys.exit(0 if outcome["output"]["verified"] else 1)


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Makes the corpus, judges it with one kill in the middle, and checks the output."""
    bundle = options.bundle or write_bundle(fake_bundle(), folder / "bundle")
    source, target = folder / f"in.{options.format}", folder / f"out.{options.format}"
    write_corpus(source, options.rows)
    command = [sys.executable, "-m", "promptopt", "judge", "--json", "--bundle", str(bundle)]
    command += ["--in", str(source), "--out", str(target), "--part-rows", str(options.part_rows)]
    command += ["--engine", options.engine] if options.engine else []
    command += ["--actors", str(options.actors)] if options.actors else []
    runs = []
    if options.kill_at:
        runs.append(watch(command, target, options, kill_after=int(options.rows * options.kill_at)))
    if not runs or runs[0].killed:
        runs.append(watch(command, target, options))
    seconds = sum(run.seconds for run in runs)
    return {
        "rows": options.rows,
        "format": options.format,
        "engine": options.engine or "the bundle's",
        "part_rows": options.part_rows,
        "input_mib": round(source.stat().st_size / 2**20, 1),
        "seconds": round(seconds, 1),
        "rows_per_second": round(options.rows / seconds, 1),
        "rss_mib": {f"{share:.0%}": rss_at(runs, round(options.rows * share)) for share in (0.1, 0.5, 1.0)},
        "peak_rss_mib": round(max(run.peak for run in runs), 1),
        "runs": [
            {
                "killed": run.killed,
                "seconds": round(run.seconds, 1),
                "rows_judged_before": run.rows_before,
                "rows_judged_after": run.rows_after,
                "peak_rss_mib": round(run.peak, 1),
            }
            for run in runs
        ],
        "output": check(target, options.rows),
        "host": {"processor": platform.processor() or platform.machine(), "cores": psutil.cpu_count()},
        "samples": [[asdict(sample) for sample in run.samples] for run in runs],
    }


def watch(command: list[str], target: Path, options: argparse.Namespace, kill_after: int | None = None) -> Watched:
    """Runs the child and samples it; kills it once a number of rows is in finished parts."""
    run = Watched(rows_before=finished_rows(target, options))
    began = time.monotonic()
    with (target.parent / "stderr.txt").open("w+", encoding="utf-8") as errors:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        process = psutil.Process(child.pid)
        next_sample = began
        while child.poll() is None:
            rows = finished_rows(target, options)
            if time.monotonic() >= next_sample:
                next_sample += 1.0
                run.samples.append(Sample(round(time.monotonic() - began, 2), rows, round(resident(process), 1)))
            if kill_after is not None and rows >= kill_after:
                child.kill()
                run.killed = True
                break
            time.sleep(0.05)
        said, _ = child.communicate()
        run.seconds = time.monotonic() - began
        if not run.killed and child.returncode != 0:
            errors.seek(0)
            raise SystemExit(f"the child failed with exit code {child.returncode}: {errors.read()[-2000:]}")
    if run.killed:
        run.rows_after = finished_rows(target, options)
    else:
        told = json.loads(said)
        run.rows_before, run.rows_after = told["rows_judged_before"], told["rows"]
    return run


def finished_rows(target: Path, options: argparse.Namespace) -> int:
    """Rows in finished parts; all rows once the output is there."""
    if target.exists():
        return int(options.rows)
    parts = sum(1 for _ in target.with_name(f"{target.name}.parts").glob("part-*.jsonl"))
    return min(int(options.rows), parts * int(options.part_rows))


def resident(process: psutil.Process) -> float:
    """Resident memory of a process and its children, in MiB."""
    total = 0
    try:
        family = [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


def rss_at(runs: list[Watched], rows: int) -> float | None:
    """Memory at the first sample with as many rows, of the child that judged them; at its last sample if none was."""
    run = next((run for run in runs if run.rows_after >= rows), runs[-1])
    reached = [sample.rss_mib for sample in run.samples if sample.rows >= rows] or [s.rss_mib for s in run.samples[-1:]]
    return reached[0] if reached else None


def write_corpus(path: Path, rows: int) -> None:
    """Short texts with numbers for ids, drawn with one seed."""
    draw = random.Random(0)  # noqa: S311 (a reproducible corpus, not a secret)
    records = ((number, " ".join(draw.choices(WORDS, k=draw.randint(4, 24)))) for number in range(rows))
    if path.suffix == ".parquet":
        _write_parquet(path, records)
        return
    with path.open("w", encoding="utf-8", newline="") as stream:
        if path.suffix == ".csv":
            csv.writer(stream, lineterminator="\n").writerows(chain([("id", "text")], records))
        else:
            stream.writelines(json.dumps({"id": number, "text": text}) + "\n" for number, text in records)


def _write_parquet(path: Path, records: Iterator[tuple[int, str]]) -> None:
    """One row group of up to a million rows, as most writers make."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids, texts = zip(*records, strict=True)
    pq.write_table(pa.table({"id": pa.array(ids, pa.int64()), "text": pa.array(texts, pa.string())}), path)


def check(path: Path, rows: int) -> dict[str, Any]:
    """Whether every id is there once, in order, with a verdict."""
    found = in_order = judged = 0
    for record in read_rows(path):
        in_order += int(record["id"]) == found
        judged += record["judge_label"] in ("violation", "allowed")
        found += 1
    return {"verified": found == in_order == judged == rows, "rows": found, "in_order": in_order, "judged": judged}


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of an output, one at a time."""
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches(columns=["id", "judge_label"]):
            yield from batch.to_pylist()
        return
    with path.open(encoding="utf-8", newline="") as stream:
        yield from csv.DictReader(stream) if path.suffix == ".csv" else map(json.loads, stream)


def fake_bundle() -> PromptBundle:
    """A judge with one question on the engine `fake`."""
    clause = Clause(
        id="V1",
        title="threats",
        severity=3,
        definition="Threatens harm.",
        question="Does the text threaten harm?",
        includes=("a threat",),
        excludes=("news",),
        action=Action.REMOVE,
    )
    procedure = Procedure(
        shape="direct",
        clauses=(clause,),
        precedence=("V1",),
        routing=(
            Rule(id="R1", when=When(any=("V1",)), then=Outcome.VIOLATION),
            Rule(id="R2", when=When(), then=Outcome.ALLOWED),
        ),
    )
    prompt = LoweredPrompt(
        question=DIRECT_QUESTION,
        segments=(
            PromptSegment(role="system", text="Threats are violations."),
            PromptSegment(role="user", slot=ITEM_SLOT),
        ),
        labels=("yes", "no"),
    )
    engine = FakeEngine()
    texts = [f"pinned text {number}" for number in range(16)]
    scores = answer([prompt], texts, engine).probabilities[DIRECT_QUESTION]
    card = engine.describe()
    return PromptBundle(
        name="corpus",
        domain="demo",
        created=datetime.now(UTC),
        promptopt="0.1.0",
        prompts=(prompt,),
        procedure=procedure,
        operating_point=OperatingPoint(
            threshold=THRESHOLD, criterion="recall_at_precision", precision=0.9, recall=0.8, f1=0.85, feasible=True
        ),
        policy=PolicyRecord(title="Threats", version="1.0.0", digest="0" * 64),
        golden=GoldenRecord(name="none", digest="0" * 64),
        candidate="0" * 64,
        engine=card.to_dict(),
        fingerprint=card.fingerprint,
        judge={"name": "fake", "engine": "fake"},
        scores={Split.TEST: SplitScores(metrics={}, cases=0, positives=0, unjudged=0)},
        parity=tuple(
            ParityCase(
                id=f"case-{number}",
                text=text,
                answers={DIRECT_QUESTION: score},
                score=score,
                label=Label.VIOLATION if score >= THRESHOLD else Label.ALLOWED,
            )
            for number, (text, score) in enumerate(zip(texts, map(float, scores), strict=True))
        ),
    )


if __name__ == "__main__":
    main()
