"""Every configuration that ships composes into typed settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from promptopt.config import AppConfig, compose, load_config, resolve_path
from promptopt.errors import ConfigError

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def _compose(*overrides: str) -> AppConfig:
    return load_config(overrides, CONFIGS)


@pytest.mark.parametrize("domain", _choices("domain"))
def test_every_domain_finds_its_policy_and_golden_set(domain):
    config = _compose(f"domain={domain}")
    assert config.domain.name == domain
    assert domain in config.name
    assert resolve_path(config.domain.policy).is_file()
    assert (resolve_path(config.golden.path) / "cases.jsonl").is_file()


@pytest.mark.parametrize("judge", _choices("judge"))
def test_every_judge_says_what_it_is(judge):
    config = _compose(f"judge={judge}", "domain=abuse")
    assert config.judge.name in config.name
    assert config.judge.engine == "fake" or (config.judge.model and config.judge.licence)


@pytest.mark.parametrize(
    ("group", "choice"),
    [(group, choice) for group in ("program", "search", "tracking", "experiment") for choice in _choices(group)],
)
def test_every_choice_of_the_other_groups_composes(group, choice):
    assert _compose(f"{group}={choice}").program.size > 1


def test_imported_golden_sets_need_a_path():
    assert _compose("golden=folder", "golden.path=somewhere").golden.path == "somewhere"
    with pytest.raises(ConfigError, match="path"):
        _compose("golden=folder")


def test_defaults_in_yaml_are_those_of_a_sweep_without_overrides():
    config = _compose()
    assert config.judge.model == "smollm2-135m"
    assert config.tracking.backend == "mlflow"
    assert not config.tracking.log_texts


def test_quickstart_tries_forty_candidates_or_more_of_one_question_each():
    config = _compose("experiment=quickstart")
    assert config.name == "quickstart"
    assert set(config.program.shapes) == {"direct", "verbalized"}
    assert (config.search.budget.trials or 0) >= 40
    assert config.program.size >= 10 * (config.search.budget.trials or 0)


@pytest.mark.parametrize(
    "override", ["sed=1", "+search.budgets.trials=3", "domain=nowhere", "search.budget.trials=none", "seed=-1"]
)
def test_what_does_not_exist_or_fit_is_one_sentence(override):
    with pytest.raises(ConfigError) as caught:
        _compose(override)
    assert "\n" not in str(caught.value)
    assert "promptopt config show" in str(caught.value)


def test_every_yaml_file_belongs_to_a_group_of_the_defaults():
    groups = {path.name for path in CONFIGS.iterdir() if path.is_dir()}
    assert groups - {"experiment"} == compose((), CONFIGS).keys() & groups
    with pytest.raises(ValidationError):
        AppConfig.model_validate({**compose((), CONFIGS), "extra": 1})
