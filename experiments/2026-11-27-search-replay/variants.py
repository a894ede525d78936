"""The lockstep race with and without blocks spread over groups, and with a small or a larger first block.

Usage: python experiments/2026-11-27-search-replay/variants.py

60 seeds, apart from the 30 of `promptopt bench search`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from promptopt.bench.replay import WITHIN_POINTS
from promptopt.bench.replay_policies import race
from promptopt.bench.replay_pool import Ledger, ReplayPool
from promptopt.bench.score_matrix import ScoreMatrix
from promptopt.search.lockstep import LockstepConfig

HERE = Path(__file__).resolve().parent
MATRICES = ("2026-11-25-search-replay", "2026-11-26-search-replay", "2026-11-27-search-replay")
SEEDS, BUDGET = range(100, 160), 0.1


def main() -> None:
    found = []
    for name, spread, share in product(MATRICES, (False, True), (0.0, 1 / 3)):
        matrix = ScoreMatrix.load(HERE.parent / name / "matrix.npz")
        regrets = np.array([regret(matrix, seed, spread=spread, share=share) for seed in SEEDS])
        within = float(np.mean(regrets <= WITHIN_POINTS + 1e-9))
        facts = {"matrix": name, "cases": len(matrix.labels), "groups": spread, "first_share": round(share, 3)}
        found.append({**facts, "within": round(within, 3), "mean_regret": round(float(regrets.mean()), 3)})
        print(found[-1], flush=True)
    (HERE / "variants.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def regret(matrix: ScoreMatrix, seed: int, *, spread: bool, share: float) -> float:
    """What the race's pick lacks to the best of the pool, in AUPRC points."""
    pool = ReplayPool.draw(matrix, 0.9, seed)
    if not spread:
        pool = replace(pool, cases=replace(pool.cases, groups=()))
    racer = race(pool, Ledger(pool, pool.allowance(BUDGET)), seed, LockstepConfig(budget=BUDGET, first_share=share))
    return 100 * float(pool.truth.max() - pool.truth[int(racer.ranking[0][0])])


if __name__ == "__main__":
    main()
