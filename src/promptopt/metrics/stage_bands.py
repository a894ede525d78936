"""The bands of a cascade's stages, each on the scale of its own probabilities.

:func:`promptopt.metrics.cascade.fit_cascade` certifies one precision threshold for all stages, so that their scores
must be on one scale, and the map to it must not rest on the cases that the precision is certified on. Calibrators that
bundles carry may have been fitted on those very cases. Each stage is therefore put on a common scale by Platt's
calibration, fitted on the half of the cases that the choices rest on, and what is found is taken back to the stage's
own probabilities. Recall needs no scale: its certificates go by ranks, which a rising map leaves as they are, whatever
it was fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from promptopt.metrics.arrays import BoolArray
from promptopt.metrics.calibration import PlattCalibrator, fit_platt
from promptopt.metrics.cascade import CascadePlan, CascadeStage, fit_cascade
from promptopt.metrics.log_odds import log_odds, sigmoid

_STREAM = 7_402_117

Band = tuple[float | None, float | None]


class BandTerms(NamedTuple):
    """What the bands of a cascade must keep, and what its parts cost.

    Attributes:
        recall_floor: Share of violations that must not be allowed unseen, in (0, 1).
        delta: Probability of error to bear, in (0, 1).
        human_cost: Of one case that people judge, in the unit of the stages' costs.
        precision_floor: Share of violations among what stages flag unseen; None where people see every violation.
        seed: Orders tied scores and halves the cases.
    """

    recall_floor: float
    delta: float
    human_cost: float
    precision_floor: float | None = None
    seed: int = 0


class FittedBands(NamedTuple):
    """The bands.

    Attributes:
        plan: What was certified, on the common scale where there is one.
        bands: Of each stage on its own scale: what is lower is allowed, what is not lower than the second end violates;
            None where the plan leaves the stage out.
    """

    plan: CascadePlan
    bands: tuple[Band | None, ...]


def fit_bands(stages: Sequence[CascadeStage], labels: BoolArray, terms: BandTerms) -> FittedBands:
    """The cheapest bands that the certificates cover.

    Args:
        stages: Probabilities of each stage, (n,) in [0, 1] and NaN where unjudged, and what it costs.
        labels: True for a violation; shape (n,).
        terms: What is asked for.

    Raises:
        ConfigError: A floor or delta is not in (0, 1), or there are too many stages.
        ValueError: Shapes differ or a probability is infinite.
    """
    y = np.asarray(labels, dtype=np.bool_)
    if terms.precision_floor is None:
        plan = fit_cascade(stages, y, terms.recall_floor, terms.delta, terms.human_cost, seed=terms.seed)
        return FittedBands(plan, tuple(_ordered(s.low, s.high) if s.runs else None for s in plan.stages))
    half = np.random.default_rng((terms.seed, _STREAM)).random(len(y)) < 0.5
    scales = [fit_platt(y[half], np.asarray(stage.scores)[half]) for stage in stages]
    plan = fit_cascade(
        [CascadeStage(scale.apply(stage.scores), stage.cost) for stage, scale in zip(stages, scales, strict=True)],
        y,
        terms.recall_floor,
        terms.delta,
        terms.human_cost,
        precision_floor=terms.precision_floor,
        half=half,
        seed=terms.seed,
    )
    bands = [
        _ordered(_taken_back(stage.low, scale), _taken_back(stage.high, scale)) if stage.runs else None
        for stage, scale in zip(plan.stages, scales, strict=True)
    ]
    return FittedBands(plan, tuple(bands))


def _taken_back(threshold: float | None, scale: PlattCalibrator) -> float | None:
    """The probability that the scale takes to the threshold; None where it takes none there."""
    if threshold is None or scale.slope <= 0:
        return None
    return float(sigmoid((log_odds(threshold) - scale.intercept) / scale.slope))


def _ordered(low: float | None, high: float | None) -> Band:
    """A band in rising order that settles every score as the plan does, which allows first and flags then."""
    return (low, low) if low is not None and high is not None and low > high else (low, high)
