"""Plain TPE: Optuna's sampler on the same space, each candidate on every search case."""

from __future__ import annotations

import math

import optuna

from promptopt.programs.program import JudgementProgram
from promptopt.search.baselines.base import SearchTask
from promptopt.search.baselines.full_evaluation import BestInFull

_REPEATS = 50


class PlainTpe:
    """Optuna's tree-structured Parzen estimator (Bergstra et al., 2011) with its defaults, the seed prompt first."""

    name = "tpe"

    def search(self, task: SearchTask) -> JudgementProgram:
        """The candidate with the highest AUPRC on the search cases."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=task.seed))
        study.enqueue_trial(dict(task.space.seed_point()))
        best = BestInFull(task)
        repeats = 0
        while not best.spent and repeats < _REPEATS:
            trial = study.ask()
            dimensions = task.space.dimensions
            point = {name: trial.suggest_categorical(name, list(choices)) for name, choices in dimensions.items()}
            candidate = task.maker.candidate(point)
            repeats = repeats + 1 if best.knows(candidate) else 0
            value = best.look_at(candidate)
            if math.isnan(value):
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, value)
        return best.program
