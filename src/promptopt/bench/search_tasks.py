"""The tasks of the end-to-end search benchmark: a domain, a golden set and a search space, named in a YAML file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field, ValidationError

from promptopt.config import AppConfig, load_config, resolve_path
from promptopt.core.case import GoldenCase, Split
from promptopt.core.model import FrozenModel
from promptopt.core.yaml_file import explain_validation, read_yaml
from promptopt.errors import ConfigError
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.reader import read_golden_set
from promptopt.golden.sampling import sample_cases
from promptopt.pipeline.precedents import read_precedents
from promptopt.pipeline.verbalizer_prior import read_prior
from promptopt.policy.model import Policy
from promptopt.policy.procedure import Shape
from promptopt.policy.reader import read_policy
from promptopt.policy.verbalizer_prior import VerbalizerPrior
from promptopt.search.blocks import demo_pool
from promptopt.search.candidates import CandidateMaker
from promptopt.search.space import SearchSpace


class TaskFile(FrozenModel):
    """A file of tasks.

    Attributes:
        judgements: Judgements that every method may spend on every task and seed.
        search_cases: Most search cases that candidates are scored on.
        calibration_cases: Most calibration cases.
        test_cases: Most test cases.
        overrides: Hydra overrides that all tasks share.
        tasks: Task name to its own overrides (``domain=abuse``).
    """

    judgements: int = Field(ge=1)
    search_cases: int = Field(ge=10)
    calibration_cases: int = Field(ge=10)
    test_cases: int = Field(ge=10)
    overrides: tuple[str, ...] = ()
    tasks: dict[str, tuple[str, ...]] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class OpenTask:
    """A task with everything read.

    Attributes:
        name: The task's name.
        config: Its configuration, without a seed of its own.
        policy: The policy.
        golden: The golden set.
        precedents: Decided cases that candidates may show.
        prior: What the weights of verbalized programs start from.
        calibration: Calibration cases, the same for all methods and seeds.
        test: Test cases, likewise.
    """

    name: str
    config: AppConfig
    policy: Policy
    golden: GoldenSet
    precedents: tuple[GoldenCase, ...]
    prior: VerbalizerPrior | None
    calibration: tuple[GoldenCase, ...]
    test: tuple[GoldenCase, ...]

    def on_programs_of(self, shape: Shape) -> OpenTask:
        """The same task with programs of one shape, the seed prompt's among them."""
        space = self.config.program
        fields = {name: getattr(space, name) for name in SearchSpace.model_fields}
        declared = {**fields, "shapes": (shape,), "seed": {**space.seed, "shape": shape}}
        config = self.config.model_copy(update={"program": SearchSpace.model_validate(declared)})
        return replace(self, config=config)

    def pool_and_cases(self, most: int, seed: int) -> tuple[tuple[GoldenCase, ...], tuple[GoldenCase, ...]]:
        """The demonstration pool of a seed, and the search cases that its candidates are scored on."""
        pool, scored = demo_pool(self.golden.split(Split.SEARCH), self.config.search.demo_pool, seed)
        return pool, sample_cases(scored, most, seed)

    def maker(self, pool: tuple[GoldenCase, ...]) -> CandidateMaker:
        """Makes candidates from the task's space."""
        return CandidateMaker(self.policy, self.config.space, pool, self.precedents, self.prior)


def read_tasks(path: Path) -> TaskFile:
    """Reads a task file.

    Raises:
        ConfigError: The file is missing or does not fit.
    """
    try:
        return TaskFile.model_validate(read_yaml(path, ConfigError))
    except ValidationError as cause:
        raise ConfigError(explain_validation(cause), where=path, remedy="correct the task file") from cause


def open_task(name: str, file: TaskFile) -> OpenTask:
    """Reads what a task names.

    Raises:
        UserError: Configuration, policy or golden set do not fit.
    """
    config = load_config([*file.overrides, *file.tasks[name]])
    if config.judges:
        further = ", ".join(judge.name for judge in config.judges)
        remedy = "leave `judges` out of the task file; a benchmark of methods has one judge"
        raise ConfigError(f"task {name!r} names further judges ({further})", where="judges", remedy=remedy)
    policy = read_policy(resolve_path(config.domain.policy))
    golden = read_golden_set(resolve_path(config.golden.path))
    golden.check_against(policy)
    return OpenTask(
        name,
        config,
        policy,
        golden,
        read_precedents(config, policy, golden),
        read_prior(config, golden),
        sample_cases(golden.split(Split.CALIBRATION), file.calibration_cases),
        sample_cases(golden.split(Split.TEST), file.test_cases),
    )
