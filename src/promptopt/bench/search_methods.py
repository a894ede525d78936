"""Every way of searching under one name: the package's own sweep and the baselines."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import get_args

from promptopt.core.case import GoldenCase
from promptopt.core.prompt import LoweredPrompt
from promptopt.errors import ConfigError, UserError
from promptopt.policy.procedure import Shape
from promptopt.scores.store import Spent
from promptopt.search.baselines.base import FoundProgram, Meter, SearchMethod, SearchTask
from promptopt.search.baselines.random_search import RandomJury
from promptopt.search.baselines.registry import BASELINES
from promptopt.search.baselines.winner import found_program
from promptopt.search.config import SearchConfig
from promptopt.search.evaluation import Evaluator
from promptopt.search.evaluators import Evaluators
from promptopt.search.judging import StoredAnswers
from promptopt.search.lockstep_sweep import LockstepSweep
from promptopt.search.proposers.mixed import make_proposers
from promptopt.search.study import SweepStudy, TrialRecord
from promptopt.search.sweep import SweepResult
from promptopt.search.winner import WinnerConfig

OWN = "promptopt"
OWN_JURY = "promptopt_jury"
LEAST_JURORS = 3


class OwnSweep:
    """The package's sweep in races, through the same meter as the baselines.

    Args:
        config: Objective, races and sampler; the budget is the meter's.
        jurors: Prompts in the winner.

    Raises:
        ConfigError: The objective is one of seconds.
    """

    def __init__(self, config: SearchConfig, jurors: int = 1) -> None:
        if "seconds" in config.objective.names:
            raise ConfigError(
                "the benchmark counts judgements and does not time the judge, and cannot minimise seconds",
                where="search.objective.names",
                remedy="use tokens in the task file",
            )
        self._config = config.model_copy(
            update={"winner": WinnerConfig(jury=jurors, seed_alpha=config.winner.seed_alpha)}
        )
        self.name = OWN if jurors == 1 else OWN_JURY

    def search(self, task: SearchTask) -> FoundProgram:
        """Runs a sweep in a folder that is thrown away, and returns the winner."""
        meter = task.meter
        budget = {"trials": None, "judge_calls": meter.left}
        racing = {**self._config.racing.model_dump(), "rule": "lockstep"}
        config = SearchConfig.model_validate({**self._config.model_dump(), "budget": budget, "racing": racing})
        judge = _MeteredJudge(meter)
        evaluators = Evaluators.one(Evaluator(judge, meter.engine, config.objective))
        with tempfile.TemporaryDirectory() as folder:
            study = SweepStudy(
                "bench",
                f"sqlite:///{Path(folder) / 'study.db'}",
                task.space,
                identity={},
                directions=config.objective.directions,
                sampler=config.sampler,
                seed=task.seed,
            )
            try:
                proposers = make_proposers(
                    config.proposers,
                    task.space,
                    task.policy,
                    task.maker,
                    meter.engine,
                    (*task.pool, *task.cases),
                    config.objective.precision_floor,
                )
                sweep = LockstepSweep(study, task.maker, evaluators, judge, task.cases, config, task.seed, proposers)
                result = sweep.run(_Silent())
            except UserError:  # the budget carries no race
                return task.seed_program()
            finally:
                study.close()
        return self._chosen(task, result)

    def _chosen(self, task: SearchTask, result: SweepResult) -> FoundProgram:
        """The winner; every score it takes to choose was paid for by the races."""
        programs = [task.maker.program(record.candidate) for record in result.ranked]
        ranked = [(p, task.meter.scores_to_compare(p, task.cases)) for p in programs]
        numbers = [record.number for record in result.ranked]
        seed_rank = numbers.index(result.seed.number) if result.seed.number in numbers else None
        return found_program(task, ranked, seed_rank, self._config.objective, self._config.winner)


def make_method(name: str, config: SearchConfig) -> SearchMethod:
    """A method by name.

    Raises:
        ConfigError: There is no such method.
    """
    jurors = max(LEAST_JURORS, config.winner.jury)
    makers: Mapping[str, Callable[[], SearchMethod]] = {
        OWN: lambda: OwnSweep(config),
        **BASELINES,
        OWN_JURY: lambda: OwnSweep(config, jurors),
        RandomJury.name: lambda: RandomJury(jurors),
    }
    if name not in makers:
        raise ConfigError(f"no search method {name!r}", where="--methods", remedy=f"choose from {', '.join(makers)}")
    return makers[name]()


def method_names() -> tuple[str, ...]:
    """All methods, the package's own ones first."""
    return (OWN, OWN_JURY, *BASELINES)


def on_shape(name: str) -> tuple[str, Shape | None]:
    """A method and the shape of the programs that it works on: ``miprov2@verbalized``; None for the task's own.

    Raises:
        ConfigError: There is no such method or shape.
    """
    method, _, shape = name.partition("@")
    for found, known, what in ((method, method_names(), "search method"), (shape, ("", *get_args(Shape)), "shape")):
        if found not in known:
            remedy = f"choose from {', '.join(filter(None, known))}"
            raise ConfigError(f"no {what} {found!r}", where="--methods", remedy=remedy)
    return method, shape or None  # type: ignore[return-value]


def is_own(name: str) -> bool:
    """Whether a method is the package's own, on programs of whatever shape."""
    return name.partition("@")[0] in (OWN, OWN_JURY)


class _MeteredJudge:
    """A meter as a sweep sees its judge."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    @property
    def spent(self) -> Spent:
        return Spent(judgements=self._meter.spent, tokens_computed=self._meter.tokens)

    def answers(self, prompts: Sequence[LoweredPrompt], cases: Sequence[GoldenCase]) -> StoredAnswers:
        return self._meter.answers(prompts, cases)


class _Silent:
    """Watches a sweep and says nothing."""

    def trial_started(self, number: int, candidate: object) -> None:
        pass

    def trial_finished(self, record: TrialRecord, records: object) -> None:
        pass

    def race_block(self, race: int, candidates: int, cases: int, of_cases: int) -> None:
        pass
