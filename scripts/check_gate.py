"""Checks the promotion gate by simulation: how often it says "better" of two copies of one prompt, and what it can see.

Both copies score one latent value with noise of their own and fit a threshold of their own on simulated calibration
cases. Cases come in groups that share part of their latent value; some stay unjudged.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from promptopt.metrics.intervals import clopper_pearson_lower
from promptopt.metrics.operating_point import choose_threshold
from promptopt.pipeline.promotion_gate import GateSettings, Pair, PromotionOutcome, Side, compare_metrics, outcome_of

FloatArray = npt.NDArray[np.float64]
ALPHA = 0.05
PERMUTATIONS = 500
GROUP_SIZE = 3
UNJUDGED = 0.01
NOISE = 0.5
SIGNAL = 1.8


@dataclass(frozen=True)
class Shape:
    """A sealed test.

    Attributes:
        cases: Cases in it.
        prevalence: Share of violations.
        lift: How much further apart violations and allowed cases lie for the winner, in standard deviations of the
            latent value; 0 for two copies of one prompt.
    """

    cases: int
    prevalence: float
    lift: float = 0.0


NULL = [Shape(90, 0.45), Shape(90, 0.15), Shape(200, 0.3), Shape(400, 0.1), Shape(400, 0.5)]
POWER = [Shape(n, p, lift) for n, p in ((90, 0.45), (200, 0.3), (400, 0.3)) for lift in (0.3, 0.6, 1.0)]


@dataclass(frozen=True)
class Tally:
    """What came of many comparisons.

    Attributes:
        outcomes: How often each outcome.
        unadjusted: How often AUPRC alone, without Holm's adjustment, would be significantly higher.
        difference: Mean difference in AUPRC.
    """

    outcomes: Counter[PromotionOutcome]
    unadjusted: int
    difference: float


def simulate(shape: Shape, comparisons: int, seed: int) -> Tally:
    """Compares simulated judges.

    Args:
        shape: The test.
        comparisons: How many.
        seed: The same seed gives the same tally.
    """
    outcomes: Counter[PromotionOutcome] = Counter()
    unadjusted, differences = 0, []
    for number in range(comparisons):
        random = np.random.default_rng([seed, number, shape.cases, round(1000 * shape.prevalence)])
        pair = _pair(shape, random)
        settings = GateSettings(alpha=ALPHA, permutations=PERMUTATIONS, resamples=0, seed=seed + number)
        metrics = compare_metrics(pair, settings)
        outcomes[outcome_of(metrics, ALPHA)] += 1
        unadjusted += metrics[0].p <= ALPHA and metrics[0].difference.point > 0
        differences.append(metrics[0].difference.point)
    return Tally(outcomes, unadjusted, float(np.mean(differences)))


def main(arguments: list[str] | None = None) -> int:
    """Prints both tables; returns 1 when "better" is said of copies in more than 5% of all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparisons", type=int, default=500, help="comparisons per shape under the null")
    parser.add_argument("--power", type=int, default=100, help="comparisons per true difference")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    began = time.perf_counter()
    print(f"Two copies of one prompt, {options.comparisons} comparisons each\n")
    print("cases  violations  better  95% interval      worse  AUPRC alone, unadjusted")
    better = 0
    for shape in NULL:
        tally = simulate(shape, options.comparisons, options.seed)
        found = tally.outcomes[PromotionOutcome.BETTER]
        better += found
        print(
            f"{shape.cases:5d}  {shape.prevalence:10.0%}  {found / options.comparisons:6.1%}  "
            f"{_interval(found, options.comparisons)}  {_share(tally, PromotionOutcome.WORSE):6.1%}  "
            f"{tally.unadjusted / tally.outcomes.total():6.1%}"
        )
    total = options.comparisons * len(NULL)
    print(f"  all              {better / total:6.1%}  {_interval(better, total)}\n")
    print(f"A winner that is better, {options.power} comparisons each\n")
    print("cases  violations  lift  mean AUPRC gain  better  worse  AUPRC alone, unadjusted")
    for shape in POWER:
        tally = simulate(shape, options.power, options.seed)
        print(
            f"{shape.cases:5d}  {shape.prevalence:10.0%}  {shape.lift:4.1f}  {tally.difference:+15.3f}  "
            f"{_share(tally, PromotionOutcome.BETTER):6.0%}  {_share(tally, PromotionOutcome.WORSE):5.0%}  "
            f"{tally.unadjusted / options.power:6.0%}"
        )
    print(f"\n{time.perf_counter() - began:.0f} s")
    return int(better / total > ALPHA)


def _pair(shape: Shape, random: np.random.Generator) -> Pair:
    latent, labels, groups = _cases(shape, random)
    calibration, calibration_labels, _ = _cases(shape, random)
    sides = []
    for lift in (0.0, shape.lift):
        point = choose_threshold(
            calibration_labels, _scores(calibration, calibration_labels, lift, random), "recall_at_precision"
        )
        scores = _scores(latent, labels, lift, random)
        scores[random.random(shape.cases) < UNJUDGED] = np.nan
        judged = ~np.isnan(scores)
        sides.append(Side(scores, judged & (np.nan_to_num(scores) >= point.threshold), judged))
    return Pair(labels, [f"g{group}" for group in groups], incumbent=sides[0], winner=sides[1])


def _cases(shape: Shape, random: np.random.Generator) -> tuple[FloatArray, npt.NDArray[np.bool_], FloatArray]:
    groups = np.arange(shape.cases) // GROUP_SIZE
    labels = random.random(shape.cases) < shape.prevalence
    shared = random.normal(0, 0.5, groups.max() + 1)[groups]
    return SIGNAL * labels + shared + random.normal(0, 0.75**0.5, shape.cases), labels, groups


def _scores(latent: FloatArray, labels: npt.NDArray[np.bool_], lift: float, random: np.random.Generator) -> FloatArray:
    value = latent + lift * labels + random.normal(0, NOISE, len(latent))
    return 1 / (1 + np.exp(-value))


def _share(tally: Tally, outcome: PromotionOutcome) -> float:
    return tally.outcomes[outcome] / tally.outcomes.total()


def _interval(found: int, of: int) -> str:
    high = 1 - clopper_pearson_lower(of - found, of, 0.975)
    return f"[{clopper_pearson_lower(found, of, 0.975):6.2%}, {high:6.2%}]"


if __name__ == "__main__":
    sys.exit(main())
