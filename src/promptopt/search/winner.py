"""Who wins a search: the seed prompt unless another stands out from it, or a jury of the best.

The best of many prompts is the best on one sample of cases, so that its lead is partly that sample's luck. A sweep
therefore keeps the seed prompt unless the lead stands out from the noise of the search cases and from the choosing
among all candidates judged in full; what a lead is worth on new cases is for the sealed test. A jury needs no such
choice among prompts that the cases cannot tell apart: it pools them, unless that ranks the search cases worse than the
seed prompt alone. docs/design/winners.md has the measurements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from pydantic import Field

from promptopt.core.model import FrozenModel
from promptopt.metrics.arrays import BoolArray, FloatArray
from promptopt.metrics.best_lead import best_lead, crossfit_spread
from promptopt.metrics.costs import best_f_beta, recall_at_fpr
from promptopt.metrics.intervals import Interval, Metric
from promptopt.metrics.operating_point import best_f1, recall_at_precision
from promptopt.metrics.ranking import average_precision, roc_auc
from promptopt.policy.jury import LogOddsScale, pool
from promptopt.search.objective import ObjectiveConfig
from promptopt.search.weighing import FOLDS

_RESAMPLES = 2000


class WinnerConfig(FrozenModel):
    """How a search's winner is chosen.

    Attributes:
        jury: Prompts in the winner; a jury of n costs the judgements of n prompts on every case in production. One
            prompt wins where a jury does worse than the seed prompt on the search cases.
        seed_alpha: One-sided level at which the best prompt has to beat the seed prompt on the search cases; None
            takes the best whatever its lead. It allows for the choice among the candidates judged in full, not for
            that of the races before: somewhat more than this share of the searches that find nothing pass.
    """

    jury: int = Field(default=1, ge=1, le=16)
    seed_alpha: float | None = Field(default=0.05, gt=0.0, lt=0.5)


class Lead(FrozenModel):
    """How far the best prompt of a search leads the seed prompt on the search cases.

    Attributes:
        difference: The best's objective minus the seed prompt's, see :func:`promptopt.metrics.best_lead.best_lead`.
        alpha: One-sided level of its lower end.
    """

    difference: Interval
    alpha: float

    @property
    def stands_out(self) -> bool:
        """Whether chance and the choosing, at the level, do not explain the lead."""
        return self.difference.low > 0


@dataclass(frozen=True, slots=True)
class SearchScores:
    """What candidates score on the search cases.

    Attributes:
        labels: True for a violation, (cases,).
        groups: Group of each case.
        ranked: Scores of the complete candidates, the best first; each (cases,), NaN where unjudged.
        seed_rank: The seed prompt's place among them; None where it was not judged on all cases.
        crossfitted: Whether each candidate's scores are of weights fitted on the other folds of the search cases; none
            are by default.
    """

    labels: BoolArray
    groups: Sequence[str]
    ranked: Sequence[FloatArray]
    seed_rank: int | None
    crossfitted: Sequence[bool] = ()

    @property
    def seed(self) -> FloatArray | None:
        """The seed prompt's scores; None where it was not judged on all cases."""
        return None if self.seed_rank is None else self.ranked[self.seed_rank]


@dataclass(frozen=True, slots=True)
class Winner:
    """Who won.

    Attributes:
        members: Places among the ranked candidates; one, or those of a jury.
        lead: The best candidate's lead over the seed prompt; None where the seed prompt is itself the best, was not
            judged on all cases, or nothing was asked of the lead.
        jury_gap: A jury's objective minus the seed prompt's on the search cases; below 0 one prompt won in its place.
            None where no jury was asked for, or it cannot be compared.
    """

    members: tuple[int, ...]
    lead: Lead | None
    jury_gap: float | None = None


def choose_winner(scores: SearchScores, objective: ObjectiveConfig, config: WinnerConfig) -> Winner:
    """Chooses among complete candidates.

    Args:
        scores: What they score on the search cases.
        objective: What the search is for. Objectives that are no function of labels and scores (tokens, severity
            cost), and searches for several, take the best whatever its lead.
        config: Size of the jury, level of the lead.

    Returns:
        One winner, or a jury: the seed prompt, unless the best stands out from it, and the best others, if their pooled
        scores do at least as well as the seed prompt's.
    """
    metric = _metric(objective)
    found = None
    if scores.seed is not None and scores.seed_rank and metric is not None and config.seed_alpha is not None:
        found = _lead(scores, scores.seed_rank, metric, config.seed_alpha)
    seed_stays = scores.seed_rank is not None and found is not None and not found.stands_out
    order = list(range(len(scores.ranked)))
    if seed_stays:
        order.sort(key=lambda place: place != scores.seed_rank)
    members = tuple(order[: config.jury])
    gap = None
    if len(members) > 1 and metric is not None and scores.seed is not None:
        gap = _jury_gap(scores.labels, [scores.ranked[place] for place in members], scores.seed, metric)
    return Winner(members[:1] if gap is not None and gap < 0 else members, found, gap)


def _jury_gap(labels: BoolArray, members: Sequence[FloatArray], seed: FloatArray, metric: Metric) -> float | None:
    """How much better the pooled scores are than the seed prompt's, where all were judged; None where they cannot be
    compared."""
    pooled = pool(members, [LogOddsScale.of(scores) for scores in members])
    both = ~(np.isnan(pooled) | np.isnan(seed))
    gap = metric(labels[both], pooled[both]) - metric(labels[both], seed[both])
    return None if np.isnan(gap) else float(gap)


def _lead(scores: SearchScores, seed_rank: int, metric: Metric, alpha: float) -> Lead:
    """The lead of the best candidate, which was chosen among all."""
    fitted = scores.crossfitted or [False] * len(scores.ranked)
    others = [place for place in range(len(scores.ranked)) if place != seed_rank]
    difference = best_lead(
        scores.labels,
        scores.ranked[seed_rank],
        [scores.ranked[place] for place in others],
        metric,
        alpha=alpha,
        groups=scores.groups,
        spread=[crossfit_spread(FOLDS) if fitted[place] or fitted[seed_rank] else 1.0 for place in others],
        resamples=_RESAMPLES,
    )
    return Lead(difference=difference, alpha=alpha)


def _metric(objective: ObjectiveConfig) -> Metric | None:
    if len(objective.names) > 1:
        return None
    metrics: dict[str, Metric] = {
        "auprc": average_precision,
        "auroc": roc_auc,
        "f1": best_f1,
        "f_beta": partial(best_f_beta, beta=objective.beta),
        "recall_at_precision": partial(recall_at_precision, floor=objective.precision_floor),
        "recall_at_fpr": partial(recall_at_fpr, ceiling=objective.fpr_ceiling),
    }
    return metrics.get(objective.names[0])
