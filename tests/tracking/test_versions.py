"""What a run was made with is found without importing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from promptopt.tracking.versions import PACKAGES, environment, git_commit


def _git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *settings, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_a_commit_is_named_and_changes_make_it_dirty(tmp_path: Path) -> None:
    assert git_commit(tmp_path) is None
    _git(tmp_path, "init", "-q")
    assert git_commit(tmp_path) is None
    (tmp_path / "a").write_text("1")
    _git(tmp_path, "add", "a")
    _git(tmp_path, "commit", "-q", "-m", "one")
    commit = _git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "untracked").write_text("x")
    assert git_commit(tmp_path) == commit
    (tmp_path / "a").write_text("2")
    assert git_commit(tmp_path) == f"{commit}-dirty"


def test_a_folder_that_does_not_exist_has_no_commit(tmp_path: Path) -> None:
    assert git_commit(tmp_path / "missing") is None


def test_the_environment_names_every_package_without_importing_it() -> None:
    script = (
        "import sys; from promptopt.tracking.versions import environment; environment();"
        "print([m for m in ('torch', 'mlflow', 'optuna', 'dspy', 'numpy', 'plotly') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.strip() == "[]"
    facts = environment()
    assert set(facts) == {"python", "platform", "machine", "cpus", *PACKAGES}
    assert isinstance(facts["cpus"], int)
    assert facts["mlflow"] is not None
