"""When should another prompt replace the seed prompt? Rules on draws of search cases, measured on the other cases.

    python experiments/2026-11-28-winner-rule/compare.py [--draws 40] [--scores URL] [--json FILE]

On four authored golden sets the seed prompt and 15 points of the space, drawn at random, are judged on search and
calibration cases, those of the demonstrations apart; the sealed tests stay sealed. The answers serve two shapes: the
panel of words is the verbalized question, the first two of its words are the direct one. On the stored scores of the
replays (200 prompts on HateCheck, direct) 15 prompts are drawn for each draw.

A draw takes 60% of the cases, whole groups, for the search. The four best on half of these are judged on all of them,
as in a race, and beside the seed prompt; a rule says which prompt wins. What counts is its AUPRC on the other 40% minus
the seed prompt's.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from promptopt.bench.score_matrix import ScoreMatrix
from promptopt.bench.search_tasks import OpenTask, open_task, read_tasks
from promptopt.core.case import Split
from promptopt.engines.base import JudgeEngine
from promptopt.golden.sampling import sample_cases
from promptopt.judges.factory import open_engine
from promptopt.metrics.arrays import BoolArray, FloatArray
from promptopt.metrics.best_lead import best_lead, crossfit_spread
from promptopt.metrics.ranking import average_precision
from promptopt.metrics.weights import fit_weights
from promptopt.policy.procedure import DIRECT_QUESTION
from promptopt.policy.verbalizer import word_features
from promptopt.scores.store import ScoreStore
from promptopt.search.judging import StoredJudge
from promptopt.search.weighing import FOLDS, PANEL_PENALTY

EXPERIMENTS = Path(__file__).resolve().parents[1]
TASKS = EXPERIMENTS / "2026-11-27-verbalizer-prior" / "tasks-plain.yaml"
AUTHORED = ("violence", "abuse", "political", "self_harm")
REPLAYS = ("2026-11-25-search-replay", "2026-11-27-search-replay")
PROMPTS, FINALISTS, SEARCHED, MOST = 16, 4, 0.6, 140
LEVELS = (0.05, 0.1, 0.2)

Scored = Callable[[BoolArray, BoolArray], tuple[FloatArray, FloatArray]]


@dataclass(frozen=True)
class Pool:
    """Prompts on the cases of a task, the seed prompt first.

    Attributes:
        name: Of the table's column.
        labels: True for a violation, (cases,).
        groups: Group of each case.
        scored: From the masks of search and other cases to the scores of each prompt on these, (prompts, cases).
        spread: What deviations of scores are multiplied by.
        prompts: Prompts to draw from.
    """

    name: str
    labels: BoolArray
    groups: FloatArray
    scored: list[Scored]
    spread: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--scores", default="sqlite:///runs/winner-rule.db")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    pools = [*judged(options.scores), *map(stored, REPLAYS)]
    found = {pool.name: measure(pool, options.draws) for pool in pools}
    Console(width=140).print(table(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def table(found: dict[str, dict[str, dict[str, float]]]) -> Table:
    """Gain and share of draws that leave the seed prompt, mean over the pools of a kind."""
    kinds: dict[str, list[dict[str, dict[str, float]]]] = {}
    for name, rows in found.items():
        kinds.setdefault(name if "HateCheck" in name else name.split(", ")[1], []).append(rows)
    made = Table("who wins", *kinds)
    for rule in next(iter(found.values())):
        cells = (
            "{:+.3f}, {:.0%}".format(*(np.mean([rows[rule][part] for rows in kind]) for part in ("gain", "left")))
            for kind in kinds.values()
        )
        made.add_row(rule, *cells)
    return made


def measure(pool: Pool, draws: int) -> dict[str, dict[str, float]]:
    """Rule to the mean gain on the other cases, its standard error, and the share of draws that leave the seed."""
    gains: dict[str, list[float]] = {}
    for search, other, chance in divisions(pool, draws):
        picked = [0, *(1 + chance.permutation(len(pool.scored) - 1)[: PROMPTS - 1])]
        both = [pool.scored[i](search, other) for i in picked]
        held = [average_precision(pool.labels[other], on_other) for _, on_other in both]
        scores, labels, groups = [one for one, _ in both], pool.labels[search], pool.groups[search]
        half = chance.random(len(labels)) < 0.5
        early = [average_precision(labels[half], one[half]) for one in scores]
        finalists = sorted(range(1, len(picked)), key=lambda i: -early[i])[:FINALISTS]
        for rule, winner in winners(labels, groups, scores, finalists, pool.spread).items():
            gains.setdefault(rule, []).append(held[winner] - held[0] if winner else float("nan"))
    return {rule: summary(np.array(values)) for rule, values in gains.items()}


def summary(values: FloatArray) -> dict[str, float]:
    gains = np.nan_to_num(values)
    return {
        "gain": float(gains.mean()),
        "error": float(gains.std(ddof=1) / len(gains) ** 0.5),
        "left": float((~np.isnan(values)).mean()),
    }


def winners(
    labels: BoolArray, groups: FloatArray, scores: Sequence[FloatArray], finalists: Sequence[int], spread: float
) -> dict[str, int]:
    """Rule to the prompt that wins by it; 0 is the seed prompt."""
    order = sorted(finalists, key=lambda i: -average_precision(labels, scores[i]))
    best = order[0]
    leads = average_precision(labels, scores[best]) > average_precision(labels, scores[0])
    found = {"the best": best if leads else 0}
    for what, rivals, factor in (
        ("one comparison", order[:1], 1.0),
        ("all finalists", order, 1.0),
        ("all finalists, cross-fitting allowed for", order, spread),
    ):
        for level in LEVELS:
            lead = best_lead(
                labels, scores[0], [scores[i] for i in rivals], average_precision,
                alpha=level, groups=groups, spread=[factor] * len(rivals), resamples=400,
            )  # fmt: skip
            found[f"{what}, {level:g}"] = best if lead.low > 0 else 0
    return found


def divisions(pool: Pool, draws: int) -> Iterator[tuple[BoolArray, BoolArray, np.random.Generator]]:
    """Masks of search cases, whole groups, and of the others; and the chance to go on with."""
    names, of = np.unique(pool.groups, return_inverse=True)
    wanted = min(MOST, int(SEARCHED * len(pool.labels)))
    for draw in range(draws):
        chance = np.random.default_rng(draw)
        rank = chance.permutation(len(names))[of]
        search = np.zeros(len(of), dtype=np.bool_)
        search[np.argsort(rank, kind="stable")[:wanted]] = True
        yield search, ~search, chance


def judged(scores: str) -> list[Pool]:
    """The authored sets, each in both shapes."""
    file = read_tasks(TASKS)
    tasks = [open_task(name, file) for name in AUTHORED]
    with closing(ScoreStore(scores)) as store, closing(open_engine(tasks[0].config.judge)) as engine:
        return [pool for task in tasks for pool in judge(task, engine, store)]


def judge(task: OpenTask, engine: JudgeEngine, store: ScoreStore) -> list[Pool]:
    search = list(sample_cases(task.golden.split(Split.SEARCH), 170))
    demos = tuple(random.Random(0).sample(search, 30))  # noqa: S311 (a reproducible draw)
    shown = {case.id for case in demos}
    calibration = sample_cases(task.golden.split(Split.CALIBRATION), 140)
    cases = [*(case for case in search if case.id not in shown), *calibration]
    maker, space = task.maker(demos), task.config.space
    draw = random.Random(f"pool|{task.name}")  # noqa: S311
    points, tables = [space.seed_point()], {}
    while len(tables) < PROMPTS:
        point = points.pop() if points else {name: draw.choice(choices) for name, choices in space.dimensions.items()}
        prompts = maker.program(maker.candidate(point)).lower()
        known = str([prompt.digest for prompt in prompts])
        if known not in tables:
            stored_judge = StoredJudge(engine, store, f"pool:{task.name}", lambda _: None)
            tables[known] = np.asarray(stored_judge.answers(prompts, cases).probabilities[DIRECT_QUESTION])
    labels = np.array([case.is_violation for case in cases])
    groups = np.array([case.group for case in cases])
    features = [word_features(table) for table in tables.values()]
    verbalized = [crossfitted(one, labels, groups) for one in features]
    plain = [as_they_are(one[:, 0] - one[:, 1]) for one in features]
    return [
        Pool(f"{task.name}, verbalized", labels, groups, verbalized, crossfit_spread(FOLDS)),
        Pool(f"{task.name}, direct", labels, groups, plain, 1.0),
    ]


def stored(experiment: str) -> Pool:
    matrix = ScoreMatrix.load(EXPERIMENTS / experiment / "matrix.npz")
    scores = [as_they_are(row.astype(np.float64)) for row in matrix.logprobs]
    return Pool(f"HateCheck, {matrix.logprobs.shape[1]:,} cases", matrix.labels, matrix.groups, scores, 1.0)


def as_they_are(scores: FloatArray) -> Scored:
    return lambda search, other: (scores[search], scores[other])


def crossfitted(features: FloatArray, labels: BoolArray, groups: FloatArray) -> Scored:
    """On search cases by weights of the other folds, on the others by weights of all search cases."""

    def scored(search: BoolArray, other: BoolArray) -> tuple[FloatArray, FloatArray]:
        rows, known = features[search], labels[search]
        fold = np.unique(groups[search], return_inverse=True)[1] % FOLDS
        own = np.empty(len(rows))
        for one in range(FOLDS):
            own[fold == one] = apply(rows[fold != one], known[fold != one], rows[fold == one])
        return own, apply(rows, known, features[other])

    return scored


def apply(features: FloatArray, labels: BoolArray, to: FloatArray) -> FloatArray:
    fitted = fit_weights(features, labels, penalty=PANEL_PENALTY, signed=True)
    return np.asarray(to @ fitted.coefficients)


if __name__ == "__main__":
    main()
