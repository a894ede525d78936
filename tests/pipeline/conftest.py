"""Sweeps with the fake judge, run in this process."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from promptopt.config import AppConfig, load_config, resolve_path
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.reader import read_golden_set
from promptopt.pipeline.outcome import SweepOutcome
from promptopt.pipeline.run_sweep import run_sweep
from promptopt.scores.store import Spent

ROOT = Path(__file__).resolve().parents[2]
# Every prompt of this space, the seed prompt included, shows the judge two golden cases.
SMALL = (
    "judge=fake",
    "experiment=quickstart",
    "domain=violence",
    "name=small",
    "program=direct",
    "search.operating_point.criterion=recall_at_precision",
    "program.demos.counts=[2]",
    "program.seed.demo_count=2",
    "search.budget.trials=6",
    "search.finalists=2",
)


class QuietDisplay:
    """Shows nothing and remembers what it was told."""

    def __init__(self) -> None:
        self.calls: list[Spent] = []
        self.phases: list[str] = []
        self.trials: list[int] = []

    def started(self, config: Any, blocks: Any, records: Any, spent: Any) -> None:
        pass

    def judged(self, cost: Spent) -> None:
        self.calls.append(cost)

    def phase(self, what: str) -> None:
        self.phases.append(what)

    def trial_started(self, number: int, candidate: Any) -> None:
        pass

    def race_block(self, *facts: object) -> None:
        pass

    def trial_finished(self, record: Any, records: Any) -> None:
        self.trials.append(record.number)


@dataclass(frozen=True)
class Finished:
    """A sweep that ended, and what it took."""

    config: AppConfig
    outcome: SweepOutcome
    display: QuietDisplay
    golden: GoldenSet

    @property
    def folder(self) -> Path:
        return self.config.run_folder


def _sweep(runs: Path, *overrides: str, display: QuietDisplay | None = None) -> Finished:
    config = load_config([*SMALL, f"runs_dir={runs}", *overrides])
    display = display or QuietDisplay()
    outcome = run_sweep(config, display)
    return Finished(config, outcome, display, read_golden_set(resolve_path(config.golden.path)))


@pytest.fixture(scope="session")
def sweep() -> Callable[..., Finished]:
    """Runs a small sweep in a folder of runs; further overrides and a display may follow."""
    return _sweep


@pytest.fixture(scope="session")
def quiet_display() -> type[QuietDisplay]:
    return QuietDisplay


@pytest.fixture(scope="session")
def small_overrides() -> Sequence[str]:
    return SMALL


@pytest.fixture(scope="session")
def tracked(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A small sweep logged to MLflow."""
    return _sweep(tmp_path_factory.mktemp("tracked"), "tracking=mlflow")


@pytest.fixture(scope="session")
def judged_pairs() -> Callable[[Path], dict[str, set[str]]]:
    """Reads a score store: prompt digest to the digests of the cases it was asked about."""

    def read(runs: Path) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        query = "select prompt, case_digest from scores join judged_prompts on judged_prompts.id = scores.prompt_id"
        with closing(sqlite3.connect(runs / "scores.db")) as connection:
            for prompt, case in connection.execute(query):
                found.setdefault(prompt, set()).add(case)
        return found

    return read


@pytest.fixture(scope="session")
def openings() -> Callable[[Path], list[dict[str, str]]]:
    """Reads the record of test openings in a folder of runs."""

    def read(runs: Path) -> list[dict[str, str]]:
        return [json.loads(line) for line in (runs / "test_openings.jsonl").read_text().splitlines()]

    return read


@pytest.fixture(scope="session")
def kill_resume() -> ModuleType:
    """``scripts/kill_resume.py`` as a module."""
    spec = importlib.util.spec_from_file_location("kill_resume", ROOT / "scripts" / "kill_resume.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
