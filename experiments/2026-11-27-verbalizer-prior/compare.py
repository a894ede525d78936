"""What are weights from other domains worth to a verbalizer, and how hard should it be drawn to them?

    python experiments/2026-11-27-verbalizer-prior/compare.py [--draws 40] [--train 86] [--json FILE]

The seed prompt of every task is judged on up to 200 search and 200 calibration cases; the sealed test stays sealed.
Weights are fitted on random groups with so many cases, and the others are ranked by them: AUPRC, mean over the draws.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from promptopt.bench.search_tasks import OpenTask, open_task, read_tasks
from promptopt.core.case import Split
from promptopt.engines.base import JudgeEngine
from promptopt.golden.sampling import sample_cases
from promptopt.judges.factory import open_engine
from promptopt.metrics.arrays import BoolArray, FloatArray
from promptopt.metrics.calibration import MIN_PER_CLASS
from promptopt.metrics.ranking import average_precision
from promptopt.metrics.weights import fit_weights
from promptopt.policy.procedure import DIRECT_QUESTION
from promptopt.policy.verbalizer import word_features
from promptopt.scores.store import ScoreStore
from promptopt.search.judging import StoredJudge

TASKS = Path(__file__).with_name("tasks-plain.yaml")
PENALTIES = (2.0, 5.0, 10.0)
PRIOR_PENALTIES = (5.0, 20.0)
PULLS = (5.0, 10.0, 20.0, 40.0, 80.0)


@dataclass(frozen=True)
class Judged:
    """A task's cases: log-probabilities of the words, standardised, (cases, words); labels; groups."""

    domain: str
    is_authored: bool
    features: FloatArray
    labels: BoolArray
    groups: list[str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--train", type=int, default=86, help="cases that weights are fitted on")
    parser.add_argument("--scores", default="sqlite:///runs/scores.db")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    tasks = judged(options.scores)
    found = {name: compare(name, tasks, options.draws, options.train) for name in tasks}
    ways = list(next(iter(found.values())))
    found["mean"] = {way: float(np.mean([row[way] for row in found.values()])) for way in ways}
    table = Table("weights", *found)
    for way in ways:
        table.add_row(way, *(f"{row[way]:.3f}" for row in found.values()))
    Console(width=140).print(table)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def judged(scores: str) -> dict[str, Judged]:
    """Every task's cases, judged with its seed prompt."""
    file = read_tasks(TASKS)
    tasks = [open_task(name, file) for name in file.tasks]
    with closing(ScoreStore(scores)) as store, closing(open_engine(tasks[0].config.judge)) as engine:
        return {task.name: judge(task, engine, store) for task in tasks}


def judge(task: OpenTask, engine: JudgeEngine, store: ScoreStore) -> Judged:
    splits = (Split.SEARCH, Split.CALIBRATION)
    cases = [case for split in splits for case in sample_cases(task.golden.split(split), 200)]
    maker = task.maker(())
    prompts = maker.program(maker.candidate(task.config.program.seed_point())).lower()
    stored = StoredJudge(engine, store, f"verbalizer-prior:{task.name}", lambda _: None)
    table = np.asarray(stored.answers(prompts, cases).probabilities[DIRECT_QUESTION])
    labels = np.array([case.is_violation for case in cases])
    authored = task.golden.name == task.policy.domain
    return Judged(task.policy.domain, authored, standardised(word_features(table)), labels, [c.group for c in cases])


def standardised(features: FloatArray) -> FloatArray:
    return np.asarray((features - features.mean(axis=0)) / np.maximum(features.std(axis=0), 1e-9))


def compare(name: str, tasks: dict[str, Judged], draws: int, train: int) -> dict[str, float]:
    """Mean AUPRC on held-out cases by way of fitting."""
    task = tasks[name]
    others = [one for one in tasks.values() if one.is_authored and one.domain != task.domain]
    priors = {penalty: pooled(others, penalty) for penalty in PRIOR_PENALTIES}
    found: dict[str, list[float]] = {}
    for fitted_on, held in divisions(task.groups, train, draws):
        labels = task.labels[fitted_on]
        if min(labels.sum(), (~labels).sum()) < MIN_PER_CLASS:
            continue
        for way, weights in fits(task.features[fitted_on], labels, priors).items():
            score = average_precision(task.labels[held], task.features[held] @ weights)
            found.setdefault(way, []).append(score)
    return {way: float(np.mean(scores)) for way, scores in found.items()}


def fits(features: FloatArray, labels: BoolArray, priors: dict[float, FloatArray]) -> dict[str, FloatArray]:
    """Way of fitting to weights."""
    ways = {f"drawn to nothing, {p:g}": fit_weights(features, labels, penalty=p, signed=True) for p in PENALTIES}
    found = {way: fitted.coefficients for way, fitted in ways.items()}
    for penalty, prior in priors.items():
        found[f"those of the others ({penalty:g})"] = prior / features.std(axis=0)
        for pull in PULLS:
            fitted = fit_weights(features, labels, penalty=pull, signed=True, centre=prior)
            found[f"drawn to the others' ({penalty:g}), {pull:g}"] = fitted.coefficients
    return found


def pooled(others: Sequence[Judged], penalty: float) -> FloatArray:
    features = np.concatenate([one.features for one in others])
    fitted = fit_weights(features, np.concatenate([one.labels for one in others]), penalty=penalty, signed=True)
    return np.asarray(fitted.coefficients * features.std(axis=0))


def divisions(groups: Sequence[str], train: int, draws: int) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Cases to fit on, whole groups until there are enough, and the rest."""
    names, of = sorted(set(groups)), np.array(groups)
    for draw in range(draws):
        random.Random(draw).shuffle(order := list(names))  # noqa: S311 (a reproducible draw)
        chosen: list[int] = []
        for group in order:
            if len(chosen) >= train:
                break
            chosen += np.flatnonzero(of == group).tolist()
        yield np.array(chosen), np.setdiff1d(np.arange(len(of)), chosen)


if __name__ == "__main__":
    main()
