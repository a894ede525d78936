"""Seed prompt against winner on three categories of the OpenAI moderation set, three seeds each.

Usage:
  python experiments/2026-11-22-openai-moderation/run.py run DATASETS   judge everything; resumes where it stopped
  python experiments/2026-11-22-openai-moderation/run.py table          print the results table from results.json
  python experiments/2026-11-22-openai-moderation/run.py readme         put the table into README.md
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = HERE / "results.json"
CATEGORIES = {"S": "sexual", "H": "abuse", "V": "violence"}
SEEDS = (0, 1, 2)
COMMAND = "python experiments/2026-11-22-openai-moderation/run.py readme"
START, END = "<!-- openai-moderation: start -->", "<!-- openai-moderation: end -->"


def main() -> None:
    match sys.argv[1:]:
        case ["run", datasets]:
            run(Path(datasets))
        case ["table"]:
            print(table(json.loads(RESULTS.read_text(encoding="utf-8"))))
        case ["readme"]:
            into_readme(table(json.loads(RESULTS.read_text(encoding="utf-8"))))
        case _:
            sys.exit(__doc__)


def run(datasets: Path) -> None:
    """Imports the categories and sweeps them; what is finished already is not run again."""
    results: list[dict[str, Any]] = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else []
    done = {(row["category"], row["seed"]) for row in results}
    for category, domain in CATEGORIES.items():
        golden = ROOT / "runs" / "golden" / f"openai-moderation-{category}"
        source = datasets / "openai-moderation" / "dev.jsonl"
        options = ["--format", "openai-moderation", "--domain", domain, "-o", f"category={category}"]
        call("golden", "import", str(source), str(golden), *options)
        for seed in SEEDS:
            if (category, seed) in done:
                continue
            name = f"openai-moderation-{category}-seed{seed}"
            overrides = ["experiment=openai_moderation", f"domain={domain}", f"golden.path={golden}", f"seed={seed}"]
            summary = call("sweep", *overrides, f"name={name}")
            results.append(row_of(category, seed, summary))
            RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def call(*arguments: str) -> dict[str, Any]:
    """Runs a promptopt command and returns its JSON."""
    command = [sys.executable, "-m", "promptopt", *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def row_of(category: str, seed: int, summary: dict[str, Any]) -> dict[str, Any]:
    """What the table and the page need of a sweep; no texts, no paths."""
    keep = ("candidates", "complete", "judgements", "judgements_full_grid", "tokens_computed", "engine_seconds")
    return {
        "category": category,
        "seed": seed,
        **{key: summary[key] for key in keep},
        "difference": summary["difference"],
        "precision_floor": summary["precision_floor"],
        "choices": summary["winner"]["choices"],
        "demos": len(summary["winner"]["demos"]),
        "seed_prompt": summary["seed_prompt"]["reports"]["test"],
        "winner": summary["winner"]["reports"]["test"],
    }


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown: one row per category and seed."""
    floor = results[0]["precision_floor"]
    lines = [
        f"| category | test cases (violations) | sweep seed | AUPRC seed prompt | AUPRC winner | difference, paired "
        f"| recall at precision {floor:g}, seed prompt | the same, winner | judgements (of full grid) |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in sorted(results, key=lambda r: ("SHV".index(r["category"]), r["seed"])):
        seed, winner = row["seed_prompt"]["metrics"], row["winner"]["metrics"]
        cells = [
            row["category"],
            f"{row['winner']['cases']} ({row['winner']['positives']})",
            str(row["seed"]),
            interval(seed["auprc"]),
            interval(winner["auprc"]),
            interval(row["difference"], sign="+"),
            interval(seed["recall_at_precision"]),
            interval(winner["recall_at_precision"]),
            f"{row['judgements']:,} ({row['judgements'] / row['judgements_full_grid']:.0%})",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interval(value: dict[str, float], sign: str = "") -> str:
    """``.512 [.401, .630]``."""
    return f"{value['point']:{sign}.3f} [{value['low']:{sign}.3f}, {value['high']:{sign}.3f}]"


def into_readme(text: str) -> None:
    """Replaces what stands between the markers."""
    readme = ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(START)
    _, after = rest.split(END)
    block = f"{START}\n`{COMMAND}` writes this table:\n\n{text}\n{END}"
    readme.write_text(before + block + after, encoding="utf-8")


if __name__ == "__main__":
    main()
