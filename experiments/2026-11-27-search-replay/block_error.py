"""How far from the truth is an AUPRC of the first cases of a race, with and without spreading them over groups?

Usage: python experiments/2026-11-27-search-replay/block_error.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from promptopt.bench.score_matrix import ScoreMatrix
from promptopt.search.paired_auprc import PairedAuprc
from promptopt.search.race_blocks import RaceCases, race_blocks

HERE = Path(__file__).resolve().parent
MATRICES = ("2026-11-25-search-replay", "2026-11-26-search-replay", "2026-11-27-search-replay")
SIZES, ORDERS, BEST = (24, 48, 96, 192), 40, 60


def main() -> None:
    found = []
    for name in MATRICES:
        matrix = ScoreMatrix.load(HERE.parent / name / "matrix.npz")
        for groups in ((), matrix.groups.tolist()):
            for size in SIZES:
                error, correlation, among_best = errors(matrix, RaceCases(matrix.labels, matrix.strata, groups), size)
                facts = {"matrix": name, "cases": len(matrix.labels), "groups": bool(groups), "seen": size}
                measures = {"error_points": error, "correlation": correlation, "correlation_of_best": among_best}
                found.append({**facts, **{key: round(value, 4) for key, value in measures.items()}})
                print(found[-1], flush=True)
    (HERE / "block_error.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def errors(matrix: ScoreMatrix, cases: RaceCases, size: int) -> tuple[float, float, float]:
    """Spread of the error over candidates, in points, and the correlation of estimate and truth, of all and of the
    best; averages over orders."""
    scores, truth = matrix.logprobs.astype(np.float64), matrix.auprc
    best = np.argsort(-truth)[:BEST]
    violations = int(matrix.labels.sum())
    rows = []
    for seed in range(ORDERS):
        seen = np.concatenate(race_blocks(cases, size, 2.0, seed))[:size]
        drawn = PairedAuprc(matrix.labels[seen], violations, len(matrix.labels) - violations)
        values = np.array([drawn.stand(row[seen]).value for row in scores])
        spread = 100 * float(np.std(values - truth))
        correlations = [float(np.corrcoef(values[kept], truth[kept])[0, 1]) for kept in (slice(None), best)]
        rows.append((spread, *correlations))
    error, correlation, among_best = np.mean(rows, axis=0)
    return float(error), float(correlation), float(among_best)


if __name__ == "__main__":
    main()
