"""The command line starts at once: nothing heavy is imported to say what there is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest
import typer

from promptopt.cli import app

LIMIT_SECONDS = 0.8
ATTEMPTS = 3
HEAVY = (
    "dspy", "gguf", "httpx", "huggingface_hub", "hydra", "litellm", "mlflow", "numpy", "omegaconf", "optuna", "pandas",
    "plotly", "pyarrow", "scipy", "sklearn", "sqlalchemy", "torch", "transformers", "yaml",
)  # fmt: skip
HELP = """
import sys
sys.argv = ["promptopt", *sys.argv[1:], "--help"]
from promptopt.cli import main
try:
    main()
finally:
    print(*sys.modules, file=sys.stderr)
"""


def _commands(command: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = [path]
    for name, inner in getattr(command, "commands", {}).items():
        found += _commands(inner, (*path, name))
    return found


COMMANDS = _commands(typer.main.get_command(app))


def test_all_commands_are_covered():
    leaves = {" ".join(path) for path in COMMANDS}
    named = "sweep, judge, compare, bundle verify, bundle show, golden import, golden show, models pull, models list"
    assert {*named.split(", "), "config show"} <= leaves


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs the processor time of one child")
@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_answers_at_once_and_imports_nothing_heavy(path, tmp_path):
    walls, costs = [], []
    while len(walls) < ATTEMPTS and min(walls, default=LIMIT_SECONDS) >= LIMIT_SECONDS:
        wall, cost, modules = _help(path, tmp_path)
        walls.append(wall)
        costs.append(cost)
        assert {name.partition(".")[0] for name in modules} & set(HEAVY) == set()
    # Neighbours on a busy machine stretch the wall clock; then the command's own processor time has to do.
    assert min(walls) < LIMIT_SECONDS or min(costs) < LIMIT_SECONDS / 2, f"{walls} s, processor {costs} s"


def _help(path: tuple[str, ...], folder: Any) -> tuple[float, float, list[str]]:
    """Wall-clock and processor seconds of one answer, and the modules that were imported for it."""
    with (folder / "out").open("w") as out, (folder / "err").open("w") as err:
        began = time.perf_counter()
        child = subprocess.Popen([sys.executable, "-c", HELP, *path], stdout=out, stderr=err)
        _, status, used = os.wait4(child.pid, 0)
        wall = time.perf_counter() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    assert "Usage" in (folder / "out").read_text(encoding="utf-8")
    return wall, used.ru_utime + used.ru_stime, (folder / "err").read_text(encoding="utf-8").split()
