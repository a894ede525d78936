"""Checks that certificates hold: in at most delta of many calibrations is a certified floor broken.

Usage: python scripts/check_certificates.py [--scores FILE.npz | --matrix FILE.npz] [--draws 2000] [--json FILE]

A stored set of scored cases is taken as the whole population, so that the recall and precision of any threshold on it
are known exactly. Each calibration set is drawn from it independently and with replacement, which is what the
certificates suppose; a threshold is certified on the draw and looked up in the population. (Splitting the set in two
instead would measure the floor on a finite held-out part: its sampling error breaks floors that hold, and a part drawn
without replacement is not independent of the rest.) A refusal breaks nothing, but its share is printed: a method that
always refuses would pass.

The interval is Wilson's over the draws. The check fails where even its lower end exceeds delta.

Without --scores three populations are made up: `smooth` (a fifth violate, distinct scores), `tied` (a third violate,
a hundred distinct scores), `rare` (3% violate, and the very highest scores are often false alarms, so that precision
rises before it falls). FILE.npz holds `labels` of shape (n,) and `scores` of shape (n,) or (stages, n), NaN where
unjudged; with several stages, the last is checked by itself and all of them as a cascade.
A score matrix of a real judge (`scripts/score_matrix.py`) gives three populations, each of two stages: its best
candidate after the seed prompt, after the second best, and after the median one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from promptopt.bench.score_matrix import ScoreMatrix
from promptopt.errors import ConfigError, UserError
from promptopt.metrics.bands import Route, choose_band
from promptopt.metrics.cascade import CascadeStage, fit_cascade
from promptopt.metrics.certificates import certify_precision, certify_recall
from promptopt.metrics.intervals import wilson_interval

CASES = 20_000
STAGE_COSTS, HUMAN_COST = (1.0, 10.0), 100.0

Labels = npt.NDArray[np.bool_]
Scores = npt.NDArray[np.float64]
Outcome = tuple[float, float] | None
"""The population's recall and precision (NaN where nothing was promised of it); None for a refusal."""


@dataclass(frozen=True)
class Population:
    """A stored set of scored cases, and the calibrations drawn from it.

    Attributes:
        name: For the table.
        labels: True for a violation; shape (n,).
        scores: Shape (stages, n), NaN where unjudged.
        drawn: Cases in each calibration set.
    """

    name: str
    labels: Labels
    scores: Scores
    drawn: int


@dataclass(frozen=True)
class Floors:
    """What is asked of each certificate."""

    recall: float
    precision: float
    delta: float


@dataclass(frozen=True)
class Row:
    """One certificate on one population.

    Attributes:
        population: Its name.
        certificate: What was certified.
        issued: Share of draws that were not refused.
        broken: Share of all draws whose certified floor does not hold in the population.
        low: Lower end of the 95% Wilson interval of ``broken``.
        high: Upper end.
        delta: What ``broken`` may be.
        recall: Mean recall in the population, of the draws that promised one.
        precision: Mean precision likewise.
        holds: False where ``low`` exceeds ``delta``.
    """

    population: str
    certificate: str
    issued: float
    broken: float
    low: float
    high: float
    delta: float
    recall: float
    precision: float
    holds: bool


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when every certificate holds, 1 when one does not, 2 when the file cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=Path, help="file with stored labels and scores")
    parser.add_argument("--matrix", type=Path, help="score matrix of a real judge")
    parser.add_argument("--drawn", type=int, help="cases per calibration set (default: 1,000, or 3,000 where rare)")
    parser.add_argument("--draws", type=int, default=2000, help="calibration sets per population")
    parser.add_argument("--recall", type=float, default=0.9, help="recall floor")
    parser.add_argument("--precision", type=float, default=0.7, help="precision floor")
    parser.add_argument("--delta", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    options = parser.parse_args(arguments)
    floors = Floors(options.recall, options.precision, options.delta)
    try:
        if options.draws < 1 or (options.drawn is not None and options.drawn < 1):
            raise ConfigError("no draws to check", remedy="give --draws and --drawn of at least 1")
        populations = synthetic(options.seed, options.drawn)
        if options.scores:
            populations = [stored(options.scores, options.drawn or 1000)]
        elif options.matrix:
            populations = from_matrix(options.matrix, options.drawn or 1000)
        rows = [row for population in populations for row in check(population, floors, options.draws, options.seed)]
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", encoding="utf-8")
    return 0 if all(row.holds for row in rows) else 1


def synthetic(seed: int, drawn: int | None = None) -> list[Population]:
    """The three made-up populations, of two stages each: a cheap judge that sees less and a dear one."""
    random = np.random.default_rng(seed)
    found = []
    for name, share, lift, digits, cases in (
        ("smooth", 0.2, 2.5, 9, 1000),
        ("tied", 0.33, 2.5, 2, 1000),
        ("rare", 0.03, 3.5, 9, 3000),
    ):
        labels = random.random(CASES) < share
        noise = random.normal(0, 1, (2, CASES))
        logits = np.stack([lift * labels + noise[0] + noise[1], lift * labels + noise[0]]) - lift / 2
        if name == "rare":
            fooled = (random.random(CASES) < 0.001) & ~labels
            logits[:, fooled] = 5 + random.normal(0, 1, (2, int(fooled.sum())))
        scores = np.round(1 / (1 + np.exp(-logits)), digits)
        found.append(Population(name, labels, scores, drawn or cases))
    return found


def stored(path: Path, drawn: int) -> Population:
    """A population read from a file.

    Raises:
        UserError: The file is missing, is no such archive, or its arrays do not fit.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            labels, scores = arrays["labels"].astype(np.bool_), np.atleast_2d(arrays["scores"].astype(np.float64))
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(
            f"no labels and scores in it ({error})", where=path, remedy="save both with np.savez"
        ) from None
    if labels.ndim != 1 or scores.ndim != 2 or scores.shape[1:] != labels.shape or np.isinf(scores).any():
        found = f"labels of shape {labels.shape} and scores of shape {scores.shape}"
        raise ConfigError(found, where=path, remedy="store (n,) and (n,) or (stages, n), finite or NaN")
    if not labels.any():
        raise ConfigError("no case is a violation", where=path, remedy="store both labels")
    return Population(path.stem, labels, scores, drawn)


def from_matrix(path: Path, drawn: int) -> list[Population]:
    """Cascades of real scores: the best candidate after the seed prompt, after the second best, after the median one.

    Raises:
        UserError: The file is no score matrix, or holds fewer than three candidates.
    """
    matrix = ScoreMatrix.load(path)
    order = np.argsort(-np.nan_to_num(matrix.auprc))
    if len(order) < 3:
        raise ConfigError(f"{len(order)} candidates", where=path, remedy="judge three or more")
    scores = np.exp(matrix.logprobs.astype(np.float64))
    firsts = {"seed prompt": 0, "second best": int(order[1]), "median": int(order[len(order) // 2])}
    best = int(order[0])
    return [
        Population(f"{name}, then the best", matrix.labels, scores[[first, best]], drawn)
        for name, first in firsts.items()
        if first != best
    ]


def check(population: Population, floors: Floors, draws: int, seed: int) -> list[Row]:
    """Every certificate on one population."""
    certificates: dict[str, Callable[[Population, Floors, npt.NDArray[np.int64]], Outcome]] = {
        "recall": _recall,
        "precision": _precision,
        "band": _band,
    }
    if len(population.scores) > 1:
        certificates |= {"cascade": _cascade, "cascade, precision": _cascade_with_precision}
    rows = []
    for name, certificate in certificates.items():
        random = np.random.default_rng(seed + 1)
        picks = (random.integers(0, len(population.labels), population.drawn) for _ in range(draws))
        rows.append(_row(population.name, name, [certificate(population, floors, pick) for pick in picks], floors))
    return rows


def table(rows: list[Row]) -> str:
    """A Markdown table."""
    lines = [
        "| population | certificate | issued | broken | 95% interval | delta | recall | precision | holds |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        interval = f"{row.low:.4f}-{row.high:.4f}"
        numbers = f"{row.issued:.3f} | {row.broken:.4f} | {interval} | {row.delta:g}"
        rates = f"{row.recall:.3f} | {row.precision:.3f}"
        verdict = "yes" if row.holds else "NO"
        lines.append(f"| {row.population} | {row.certificate} | {numbers} | {rates} | {verdict} |")
    return "\n".join(lines)


def _row(population: str, certificate: str, outcomes: list[Outcome], floors: Floors) -> Row:
    issued = [outcome for outcome in outcomes if outcome is not None]
    broken = sum(recall < floors.recall or precision < floors.precision for recall, precision in issued)
    interval = wilson_interval(broken, len(outcomes))
    rates = np.array(issued).reshape(-1, 2)
    means = [
        float(column[~np.isnan(column)].mean()) if not np.isnan(column).all() else float("nan") for column in rates.T
    ]
    return Row(
        population=population,
        certificate=certificate,
        issued=len(issued) / len(outcomes),
        broken=interval.point,
        low=interval.low,
        high=interval.high,
        delta=floors.delta,
        recall=means[0],
        precision=means[1],
        holds=interval.low <= floors.delta,
    )


def _recall(population: Population, floors: Floors, pick: npt.NDArray[np.int64]) -> Outcome:
    labels, scores = population.labels, population.scores[-1]
    found = certify_recall(labels[pick], scores[pick], floors.recall, floors.delta)
    return None if found.threshold is None else (_share(scores[labels] >= found.threshold), float("nan"))


def _precision(population: Population, floors: Floors, pick: npt.NDArray[np.int64]) -> Outcome:
    labels, scores = population.labels, population.scores[-1]
    found = certify_precision(labels[pick], scores[pick], floors.precision, floors.delta)
    return None if found.threshold is None else (float("nan"), _share(labels[scores >= found.threshold]))


def _band(population: Population, floors: Floors, pick: npt.NDArray[np.int64]) -> Outcome:
    labels, scores = population.labels, population.scores[-1]
    found = choose_band(labels[pick], scores[pick], floors.recall, floors.precision, floors.delta)
    return _routed(labels, found.decide(scores), found.low is not None, found.high is not None)


def _cascade(population: Population, floors: Floors, pick: npt.NDArray[np.int64]) -> Outcome:
    return _planned(population, floors, pick, None)


def _cascade_with_precision(population: Population, floors: Floors, pick: npt.NDArray[np.int64]) -> Outcome:
    return _planned(population, floors, pick, floors.precision)


def _planned(
    population: Population, floors: Floors, pick: npt.NDArray[np.int64], precision_floor: float | None
) -> Outcome:
    costs = np.geomspace(*STAGE_COSTS, len(population.scores))
    stages = [CascadeStage(row[pick], cost) for row, cost in zip(population.scores, costs, strict=True)]
    labels = population.labels
    plan = fit_cascade(stages, labels[pick], floors.recall, floors.delta, HUMAN_COST, precision_floor=precision_floor)
    allows = any(stage.runs and stage.low is not None for stage in plan.stages)
    flags = any(stage.runs and stage.high is not None for stage in plan.stages)
    return _routed(labels, plan.decide(list(population.scores))[0], allows, flags)


def _routed(labels: Labels, routes: npt.NDArray[np.int64], allows: bool, flags: bool) -> Outcome:
    if not (allows or flags):
        return None
    recall = _share(routes[labels] != Route.ALLOWED) if allows else float("nan")
    return recall, _share(labels[routes == Route.VIOLATION]) if flags else float("nan")


def _share(hits: Labels) -> float:
    return float(hits.mean()) if len(hits) else float("nan")


if __name__ == "__main__":
    sys.exit(main())
