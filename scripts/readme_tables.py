"""Writes the measured figures of experiments/ into README.md, between their markers.

Usage: python scripts/readme_tables.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = ROOT / "experiments"


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name, block in (
        ("quickstart", quickstart(load("2026-11-22-quickstart"))),
        ("engine", engine(load("2026-11-22-engine-cpu"))),
        ("kill-resume", kill_resume(load("2026-11-22-kill-resume"))),
    ):
        text = replace(text, name, block)
    readme.write_text(text, encoding="utf-8")


def load(experiment: str) -> dict[str, Any]:
    """The experiment's result."""
    found: dict[str, Any] = json.loads((EXPERIMENTS / experiment / "result.json").read_text(encoding="utf-8"))
    return found


def replace(text: str, name: str, block: str) -> str:
    """Puts a block between the markers of its name."""
    start, end = f"<!-- {name}: start -->", f"<!-- {name}: end -->"
    before, rest = text.split(start)
    _, after = rest.split(end)
    return f"{before}{start}\n{block}\n{end}{after}"


def quickstart(summary: dict[str, Any]) -> str:
    """The quickstart's outcome on the sealed test."""
    seed, winner = summary["seed_prompt"]["reports"]["test"], summary["winner"]["reports"]["test"]
    floor = summary["precision_floor"]
    rows = [
        ("AUPRC", "auprc"),
        ("AUROC", "auroc"),
        (f"recall at precision {floor:g}", "recall_at_precision"),
        ("precision at threshold", "precision"),
        ("recall at threshold", "recall"),
    ]
    lines = [
        "`python experiments/2026-11-22-quickstart/run.py`, on two cores of an AMD EPYC without bfloat16:",
        "",
        f"| {summary['domain']}, sealed test of {winner['cases']} cases | seed prompt | winner |",
        "|---|---:|---:|",
        *(f"| {label} | {interval(seed['metrics'][m])} | {interval(winner['metrics'][m])} |" for label, m in rows),
        "",
        f"Paired difference of AUPRC {interval(summary['difference'], '+')}. {summary['candidates']} candidates, "
        f"{summary['judgements']:,} judgements (full grid: {summary['judgements_full_grid']:,}), "
        f"{summary['tokens_computed']:,} tokens in {summary['engine_seconds']:.0f} s of judging; "
        f"{summary['wall_seconds']:.0f} s and {summary['peak_memory_gib']:.1f} GiB in all, install and model fetch "
        "apart.",
    ]
    return "\n".join(lines)


def engine(result: dict[str, Any]) -> str:
    """The engine's speed against plain ways."""
    lines = [
        "`python scripts/bench_engine.py --batch-tokens 512 --json experiments/2026-11-22-engine-cpu/result.json`:",
        "",
        f"| {result['model']}, {result['dtype']}, {result['threads']} threads, prefix {result['prefix_tokens']}, "
        f"{result['marginal_tokens']:.0f} tokens per case | judgements/s | tokens computed per case |",
        "|---|---:|---:|",
    ]
    for row in result["measurements"]:
        per_case = row["tokens_computed"] / row["cases"]
        lines.append(f"| {row['method']} | {row['judgements_per_second']:.2f} | {per_case:.1f} |")
    lines += [
        "",
        f"{result['ratio_to_one_sequence']:.1f}x one sequence per case and {result['ratio_to_padded']:.1f}x padded "
        f"batches (tokens alone would give {result['ideal_ratio']:.1f}x); largest difference in probability "
        f"{result['largest_difference']['c']:.0e}. GPU: not measured.",
    ]
    return "\n".join(lines)


def kill_resume(result: dict[str, Any]) -> str:
    """Killed sweeps against undisturbed ones."""
    lines = [
        "`scripts/kill_resume.py` kills a sweep with SIGKILL at random moments, resumes it each time, and compares it "
        "with an undisturbed one:",
        "",
        "| judge | kills | stored scores | same winner | same trials | same scores, to the bit | judged twice |",
        "|---|---:|---:|---|---|---|---:|",
    ]
    for judge, run in result.items():
        same = ["yes" if run[key] else "**no**" for key in ("same_winner", "same_trials", "same_scores")]
        lines.append(f"| {judge} | {run['kills']} | {run['scores']:,} | {' | '.join(same)} | {run['judged_twice']} |")
    return "\n".join(lines)


def interval(value: dict[str, float], sign: str = "") -> str:
    """``0.512 [0.401, 0.630]``."""
    return f"{value['point']:{sign}.3f} [{value['low']:{sign}.3f}, {value['high']:{sign}.3f}]"


if __name__ == "__main__":
    main()
