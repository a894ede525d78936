"""Optuna's WilcoxonPruner as a selection policy."""

from __future__ import annotations

import warnings

import numpy as np
import optuna

from promptopt.bench.replay_pool import Ledger, ReplayPool
from promptopt.metrics.arrays import BoolArray, FloatArray
from promptopt.metrics.ranking import average_precision

_LOOK_EVERY = 10  # cases; the pruner's test takes a millisecond, and one after every case would find little more
_UNJUDGED = float(np.log(0.5))


def wilcoxon(pool: ReplayPool, ledger: Ledger, seed: int) -> list[int]:
    """Candidates in random order, each case by case in an order of its own, until ``optuna.pruners.WilcoxonPruner``
    (its defaults) finds its losses worse than those of the best complete trial.

    Reported per case is the log loss, unjudged cases counting as a probability of a half; the study's best trial is
    that of the smallest mean loss, as the pruner wants it. Of the complete trials the best AUPRC is picked.
    """
    random = np.random.default_rng([seed, 3])
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(direction="minimize", pruner=optuna.pruners.WilcoxonPruner())
    complete: dict[int, float] = {}
    for candidate in range(pool.size[0]):
        trial = study.ask()
        losses: list[float] = []
        for rows in np.split(random.permutation(pool.size[1]), range(_LOOK_EVERY, pool.size[1], _LOOK_EVERY)):
            if ledger.price(candidate, rows) > ledger.left:
                return _ranked(complete)
            for row, loss in zip(rows, _losses(pool.labels[rows], ledger.ask(candidate, rows)), strict=True):
                trial.report(float(loss), int(row))
                losses.append(float(loss))
            if trial.should_prune():
                break
        if len(losses) < pool.size[1]:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, float(np.mean(losses)))
            complete[candidate] = float(np.nan_to_num(average_precision(pool.labels, pool.scores[candidate])))
    return _ranked(complete)


def _losses(labels: BoolArray, logprobs: FloatArray) -> FloatArray:
    told = np.where(np.isnan(logprobs), _UNJUDGED, logprobs)
    other = np.log(np.maximum(-np.expm1(told), np.finfo(np.float64).tiny))
    return -np.where(labels, told, other)


def _ranked(values: dict[int, float]) -> list[int]:
    return sorted(values, key=lambda candidate: -values[candidate]) or [0]
