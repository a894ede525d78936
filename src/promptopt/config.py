"""Composes every room's configuration: YAML groups in, typed settings out."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from promptopt.core.model import FrozenModel
from promptopt.core.yaml_file import explain_validation
from promptopt.errors import ConfigError
from promptopt.judges.config import JudgeConfig
from promptopt.judges.entries import read_entry
from promptopt.search.config import SearchConfig
from promptopt.search.space import LabelWords, SearchSpace
from promptopt.tracking.config import TrackingConfig

_HERE = Path(__file__).resolve().parent


class DomainConfig(FrozenModel):
    """A risk domain.

    Attributes:
        name: Domain name, as its policy spells it.
        policy: Policy file.
    """

    name: str
    policy: str


class GoldenConfig(FrozenModel):
    """A golden set.

    Attributes:
        path: Folder with ``cases.jsonl`` and ``manifest.json``.
    """

    path: str


class AppConfig(FrozenModel):
    """Everything a sweep needs.

    Attributes:
        name: Name of the sweep; the same name resumes it.
        seed: Seed of proposals, draws and orders.
        runs_dir: Folder of runs: stores, plots and bundles.
        study_url: Optuna storage; None for a SQLite file in the run's folder.
        scores_url: Score store; None for ``scores.db`` in ``runs_dir``, shared by all sweeps.
        domain: The risk domain.
        golden: The golden set.
        judge: The judge; the seed prompt's where several are searched.
        judges: Further judges, searched as a dimension of the space; all are loaded at once.
        program: The search space.
        search: Objective, racing, budget and sampler.
        tracking: Where runs are logged.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    seed: int = Field(default=0, ge=0)
    runs_dir: str = "runs"
    study_url: str | None = None
    scores_url: str | None = None
    domain: DomainConfig
    golden: GoldenConfig
    judge: JudgeConfig
    judges: tuple[JudgeConfig, ...] = ()
    program: SearchSpace
    search: SearchConfig = SearchConfig()
    tracking: TrackingConfig = TrackingConfig()

    @cached_property
    def space(self) -> SearchSpace:
        """The search space with the judges, and their own label words, added to it."""
        words = dict(self.program.label_words)
        known = {(pair.violation, pair.allowed) for pair in words.values()}
        for violation, allowed in dict.fromkeys(pair for judge in self.every_judge for pair in judge.label_words):
            if (violation, allowed) not in known:
                words[f"{violation}_{allowed}"] = LabelWords(violation=violation, allowed=allowed)
        judges = tuple(judge.name for judge in self.every_judge)
        return SearchSpace.model_validate({**self.program.model_dump(), "label_words": words, "judges": judges})

    @property
    def every_judge(self) -> tuple[JudgeConfig, ...]:
        """The judge and the further ones."""
        return (self.judge, *self.judges)

    @property
    def run_folder(self) -> Path:
        """Where this sweep's files are."""
        return Path(self.runs_dir) / self.name

    @model_validator(mode="after")
    def _judges_can_be_searched(self) -> Self:
        if self.program.judges:
            raise ValueError("`program.judges` is filled in from `judge` and `judges`; set `judges` instead")
        name, times = Counter(judge.name for judge in self.every_judge).most_common(1)[0]
        if times > 1:
            raise ValueError(f"{times} judges are called {name!r}; give each of `judges` a `name` of its own")
        if self.judges and self.search.winner.jury > 1:
            raise ValueError(
                "`search.winner.jury` pools prompts of one judge, and `judges` names more: set search.winner.jury=1, "
                "or pool finished bundles with `promptopt bundle compose`"
            )
        return self


def load_config(overrides: Sequence[str] = (), folder: Path | None = None) -> AppConfig:
    """Composes the configuration with Hydra and checks it.

    Args:
        overrides: Hydra overrides (``domain=abuse``, ``search.budget.trials=80``, ``experiment=quickstart``).
        folder: Folder of configuration groups; the project's or the installed package's own by default.

    Returns:
        The typed configuration.

    Raises:
        ConfigError: An unknown group, key or value; says which.
    """
    data = compose(overrides, folder)
    try:
        return AppConfig.model_validate(data)
    except ValidationError as cause:
        fault = cause.errors()[0]
        if fault["type"] == "extra_forbidden":
            raise _unknown_key(".".join(map(str, fault["loc"])), overrides, folder) from cause
        raise ConfigError(explain_validation(cause), where="configuration", remedy=_SHOW) from cause


def compose(overrides: Sequence[str], folder: Path | None = None) -> dict[str, Any]:
    """The configuration as plain data, interpolations resolved.

    A dotted key may be one that the groups leave at its default; whether it exists, the typed configuration says.

    Raises:
        ConfigError: As :func:`load_config`, but for dotted keys and values that do not fit.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    folder = (folder or resource("configs")).resolve()
    if not folder.is_dir():
        raise ConfigError("the folder of configuration groups does not exist", where=folder, remedy="check the path")
    for override in overrides:
        if "=" not in override and not override.startswith("~"):
            raise ConfigError(f"override {override!r} is not KEY=VALUE", where="configuration", remedy=_SHOW)
    try:
        with initialize_config_dir(str(folder), version_base="1.3"):
            # `++` sets a key whether or not the groups mention it.
            given = [f"++{override}" if _DOTTED_KEY.match(override) else override for override in overrides]
            config = hydra_compose("config", overrides=given)
            plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as cause:
        raise _fault(cause, overrides, folder) from cause
    listed = plain.get("judges") or []
    if not isinstance(listed, list):
        raise ConfigError(f"`judges` is {listed!r}", where="configuration", remedy="write a list: 'judges=[fake]'")
    plain["judges"] = [read_entry(entry, folder / "judge", "judges") for entry in listed]
    return plain


def resource(name: str) -> Path:
    """A folder that ships with the project (``configs``, ``data``): of the checkout, else of the installed package."""
    checkout = _HERE.parents[1] / name
    return checkout if checkout.is_dir() else _HERE / f"_{name}"


def resolve_path(path: str) -> Path:
    """A path as the user meant it: from the working directory, else from what ships with the project."""
    given = Path(path).expanduser()
    if given.exists() or given.is_absolute():
        return given
    first, *rest = given.parts
    shipped = resource(first).joinpath(*rest) if first in ("configs", "data") else given
    return shipped if shipped.exists() else given


_SHOW = "run `promptopt config show` to see every key and the groups to choose from"
_DOTTED_KEY = re.compile(r"[A-Za-z_]\w*(\.\w+)+=")
_UNKNOWN_KEY = re.compile(r"Could not override '([^']+)'")
_UNKNOWN_CHOICE = re.compile(
    r"Could not find '([^']+)/([^'/]+)'\s+Available options in '[^']+':\s+(.+?)\s*Config search", re.S
)
_UNREADABLE = re.compile(r"Error parsing override '([^']*)'\s+(.+)")
_NOT_SET = re.compile(r"Missing mandatory value.*?full_key: (\S+)", re.S)


def _fault(cause: Exception, overrides: Sequence[str], folder: Path) -> ConfigError:
    """What Hydra or OmegaConf says, as one sentence."""
    said = str(cause)
    if found := _UNKNOWN_KEY.search(said):
        return _unknown_key(found[1], overrides, folder)
    if found := _UNKNOWN_CHOICE.search(said):
        choices = ", ".join(found[3].split())
        what = f"there is no {found[1]} {found[2]!r}"
        remedy = f"choose from {choices} (`promptopt config show` prints every group)"
        return ConfigError(what, where="configuration", remedy=remedy)
    if found := _UNREADABLE.search(said):
        what = f"the override {found[1]!r} cannot be read ({found[2].strip()})"
        return ConfigError(what, where="configuration", remedy="put values with special characters in quotes")
    if found := _NOT_SET.search(said):
        return ConfigError(f"`{found[1]}` is not set", where="configuration", remedy=f"set {found[1]}=VALUE")
    lines = [line.strip() for line in said.splitlines() if line.strip() and not line.startswith("See https://")]
    what = " ".join(lines).rstrip(".:")[:400] or type(cause).__name__
    return ConfigError(what, where="configuration", remedy=_SHOW)


def _unknown_key(key: str, overrides: Sequence[str], folder: Path | None) -> ConfigError:
    """Names the key as the user wrote it, and the one that is most like it."""
    written = (override.partition("=")[0].lstrip("+~") for override in overrides)
    key = next((name for name in written if name.startswith(f"{key}.")), key)
    known = AppConfig.model_validate(compose((), folder)).model_dump(mode="json")
    alike = difflib.get_close_matches(key, list(_keys(known)), n=1)
    hint = f"did you mean {alike[0]}? " if alike else ""
    return ConfigError(f"unknown key `{key}`", where="configuration", remedy=f"{hint}{_SHOW}")


def _keys(data: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in data.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _keys(value, f"{prefix}{name}.")
