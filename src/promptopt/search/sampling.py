"""Optuna's sampler, working on a copy of the study that lies in memory.

A sampler reads every earlier trial, and writes every parameter it proposes, one at a time; against a database that is
dozens of transactions per trial. The copy is made from the stored trials when a sweep is opened, and told what the
store is told, so that proposals are the same.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.trial import FrozenTrial, TrialState

from promptopt.core.candidate import Choice
from promptopt.search.config import SamplerConfig


class Proposals:
    """Proposes points; each is a function of the seed and of the trials before it, never of the state of a process.

    Args:
        dimensions: Dimension name to its choices.
        directions: Optuna directions, one per objective.
        sampler: How points are proposed.
        seed: Seed of the proposals.
        trials: Finished trials of the stored study, all of them, in the order of their numbers.
    """

    def __init__(
        self,
        dimensions: Mapping[str, Sequence[Choice]],
        directions: Sequence[str],
        sampler: SamplerConfig,
        seed: int,
        trials: Sequence[FrozenTrial],
    ) -> None:
        self._dimensions = {name: list(choices) for name, choices in dimensions.items() if len(choices) > 1}
        self._settled = {name: choices[0] for name, choices in dimensions.items() if len(choices) == 1}
        self._names = tuple(dimensions)
        self._config = sampler
        self._seed = seed
        self._study = optuna.create_study(directions=list(directions), sampler=optuna.samplers.RandomSampler(seed=0))
        self._study.add_trials(trials)
        self._open: dict[int, optuna.Trial] = {}

    @property
    def waiting(self) -> int:
        """Points that were proposed and are not told yet."""
        return len(self._open)

    def point_of(self, trial: FrozenTrial) -> dict[str, Choice]:
        """A trial's choice in every dimension, those with a single choice included."""
        chosen = {**self._settled, **trial.params}
        return {name: chosen[name] for name in self._names}

    def ask(self, finished: int, point: Mapping[str, Choice] | None) -> FrozenTrial:
        """The next trial.

        Args:
            finished: Trials on record.
            point: What is tried in place of a proposal of the sampler's.

        Returns:
            The running trial, with a choice in every dimension that has several.
        """
        self._study.sampler = self._sampler(finished, point)
        trial = self._study.ask()
        for name, choices in self._dimensions.items():
            trial.suggest_categorical(name, choices)
        self._open[trial.number] = trial
        return self._study.get_trials(deepcopy=False)[trial.number]

    def tell(
        self, number: int, state: TrialState, values: Sequence[float] | None, last: tuple[int, float] | None
    ) -> None:
        """Finishes a trial.

        Args:
            number: Its number.
            state: How it ended.
            values: The objectives, for a complete one.
            last: Step and value of the last block, for a dropped one: what TPE ranks it by.
        """
        trial = self._open.pop(number)
        if last is not None:
            trial.report(last[1], last[0])
        self._study.tell(trial, None if values is None else list(values), state=state)

    def constrain(self, number: int, constraints: Mapping[str, float]) -> None:
        """Says what an open trial lacks."""
        for name, value in constraints.items():
            self._open[number].set_constraint(name, value)

    def _sampler(self, finished: int, point: Mapping[str, Choice] | None) -> optuna.samplers.BaseSampler:
        waiting = self.waiting
        place = f"{finished}+{waiting}" if waiting else f"{finished}"
        digest = hashlib.sha256(f"{self._seed}|{place}".encode()).digest()
        seed = int.from_bytes(digest[:4], "big")
        sampler: optuna.samplers.BaseSampler
        if self._config.name == "random":
            sampler = optuna.samplers.RandomSampler(seed=seed)
        else:
            startup, liar = self._config.startup, waiting > 0  # the liar keeps a field from crowding one point
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=liar)
        if point is None:
            return sampler
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return optuna.samplers.PartialFixedSampler(dict(point), sampler)
