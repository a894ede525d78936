"""The lockstep race on random parts of the largest matrix: what do more cases do, the prompts being the same?

Usage: python experiments/2026-11-27-search-replay/fewer_cases.py

60 seeds, apart from the 30 of `promptopt bench search`; each draws a part of its own, within which "best" is defined.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from promptopt.bench.replay import WITHIN_POINTS
from promptopt.bench.replay_policies import race
from promptopt.bench.replay_pool import Ledger, ReplayPool
from promptopt.bench.score_matrix import ScoreMatrix
from promptopt.search.lockstep import LockstepConfig

HERE = Path(__file__).resolve().parent
SIZES, SEEDS, BUDGET = (400, 700, 1000, 1200), range(100, 160), 0.1


def main() -> None:
    matrix, found = ScoreMatrix.load(HERE / "matrix.npz"), []
    for size in SIZES:
        regrets = np.array([regret(matrix, size, seed) for seed in SEEDS])
        within = float(np.mean(regrets <= WITHIN_POINTS + 1e-9))
        found.append({"cases": size, "within": round(within, 3), "mean_regret": round(float(regrets.mean()), 3)})
        print(found[-1], flush=True)
    (HERE / "fewer_cases.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def regret(matrix: ScoreMatrix, size: int, seed: int) -> float:
    """What the race's pick lacks to the best of the pool on the part, in AUPRC points."""
    kept = np.random.default_rng([seed, 7]).permutation(len(matrix.labels))[:size]
    part = ScoreMatrix(
        logprobs=matrix.logprobs[:, kept],
        labels=matrix.labels[kept],
        clauses=matrix.clauses[kept],
        severities=matrix.severities[kept],
        groups=matrix.groups[kept],
        case_digests=matrix.case_digests[kept],
        candidate_digests=matrix.candidate_digests,
        meta=matrix.meta,
    )
    pool = ReplayPool.draw(part, 0.9, seed)
    racer = race(pool, Ledger(pool, pool.allowance(BUDGET)), seed, LockstepConfig(budget=BUDGET))
    return 100 * float(pool.truth.max() - pool.truth[int(racer.ranking[0][0])])


if __name__ == "__main__":
    main()
