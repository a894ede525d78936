"""Cells of `promptopt bench search` with a prior beside those without: means over seeds, and the paired difference.

    python experiments/2026-11-27-verbalizer-prior/summarise.py WITH WITHOUT [--json FILE]

WITH and WITHOUT are the folders that `--out` named. Intervals are over test cases, whole groups drawn, the same draws
for both sides; a task and method counts with the seeds that both sides have.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from promptopt.bench.search_bench import SearchCell
from promptopt.metrics.ranking import average_precision

RESAMPLES = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("with_prior", type=Path)
    parser.add_argument("without", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    new, old = read(options.with_prior), read(options.without)
    rows = []
    for task, method in dict.fromkeys((task, method) for task, method, _ in new):
        seeds = [s for t, m, s in new if (t, m) == (task, method) and (t, m, s) in old]
        if seeds:
            sides = ([cells[task, method, seed] for seed in seeds] for cells in (new, old))
            rows.append({"task": task, "method": method, "seeds": len(seeds), **compare(*sides)})
            print("{task:<14}{method:<30}{seeds} seeds  {with:.3f}  {without:.3f}  {difference}".format(**rows[-1]))
    if options.json:
        options.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> dict[tuple[str, str, int], SearchCell]:
    cells = [SearchCell.model_validate_json(path.read_bytes()) for path in sorted(folder.glob("cells/*/*.json"))]
    return {(cell.task, cell.method, cell.seed): cell for cell in cells}


def compare(new: list[SearchCell], old: list[SearchCell]) -> dict[str, Any]:
    """Mean AUPRC on the sealed test of either side, and the difference with a 95% interval."""
    groups, labels = np.array(new[0].groups), np.array(new[0].labels)
    if any(cell.test != new[0].test for cell in (*new, *old)):
        raise ValueError("the cells were measured on different test cases")
    rows = {name: np.flatnonzero(groups == name) for name in np.unique(groups)}
    random, names = np.random.default_rng(0), list(rows)
    picks = [np.arange(len(labels))]
    picks += [np.concatenate([rows[name] for name in random.choice(names, len(names))]) for _ in range(RESAMPLES)]

    def mean(cells: list[SearchCell], pick: np.ndarray) -> float:
        return float(np.mean([average_precision(labels[pick], np.array(cell.scores)[pick]) for cell in cells]))

    sides = np.array([[mean(new, pick), mean(old, pick)] for pick in picks])
    gaps = sides[:, 0] - sides[:, 1]
    low, high = np.nanquantile(gaps[1:], [0.025, 0.975])
    return {
        "with": sides[0, 0],
        "without": sides[0, 1],
        "difference": {"point": float(gaps[0]), "low": float(low), "high": float(high)},
    }


if __name__ == "__main__":
    main()
