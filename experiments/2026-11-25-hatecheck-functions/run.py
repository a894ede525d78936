"""HateCheck function by function through the abuse policy, before and after a sweep on the authored set.

Usage: python experiments/2026-11-25-hatecheck-functions/run.py ALL_CASES_CSV [--each 30]

ALL_CASES_CSV is HateCheck's all_cases.csv (Röttger et al. 2021). The sweep is the quickstart's; *before* is its seed
prompt, exported by a sweep of one trial. Neither has seen a case of HateCheck. Of each function the first cases in a
seeded order are taken. Thresholds are those of the best F1 on the calibration split: a precision floor of .8 is beyond
this judge, which then flags nothing. No texts are written.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RUNS = ROOT / "runs"
THRESHOLD = "search.operating_point.criterion=f1"
SWEEPS = {"before": ["name=hatecheck-before", "search.budget.trials=1"], "after": ["name=hatecheck-after"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", type=Path, help="HateCheck's all_cases.csv")
    parser.add_argument("--each", type=int, default=30, help="most cases of a function")
    options = parser.parse_args()
    RUNS.mkdir(exist_ok=True)
    sample = RUNS / "hatecheck-sample.csv"
    _sample(options.cases, options.each, sample)
    result: dict[str, Any] = {"judge": "smollm2-135m"}
    for side, settings in SWEEPS.items():
        _promptopt("sweep", "experiment=quickstart", "tracking=none", THRESHOLD, *settings)
        bundle = RUNS / settings[0].removeprefix("name=") / "bundle"
        said = _promptopt(
            "policy", "test", "data/policies/abuse.yaml", "--bundle", str(bundle), "--hatecheck", str(sample), "--json"
        )
        result[side] = _without_ids(json.loads(said))
    (HERE / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _sample(cases: Path, each: int, out: Path) -> None:
    with cases.open(newline="", encoding="utf-8") as stream:
        reader = csv.DictReader(stream)
        columns, rows = list(reader.fieldnames or ()), list(reader)
    random.Random(0).shuffle(rows)  # noqa: S311 (a reproducible draw, not a secret)
    taken: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        taken.setdefault(row["functionality"], []).append(row)
    with out.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(row for name in sorted(taken) for row in taken[name][:each])


def _promptopt(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "promptopt", *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True
    )
    return done.stdout


def _without_ids(report: dict[str, Any]) -> dict[str, Any]:
    rows = [{name: row[name] for name in row if name != "failed"} for row in [report["overall"], *report["functions"]]]
    return {"overall": rows[0], "functions": rows[1:]}


if __name__ == "__main__":
    main()
