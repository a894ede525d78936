"""What a run was made with: versions, machine and commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("promptopt", "torch", "transformers", "dspy", "optuna", "mlflow", "numpy")

_GIT_SECONDS = 10


def environment() -> dict[str, str | int | None]:
    """Versions and machine, without importing any of the packages.

    Returns:
        ``python``, ``platform``, ``machine``, ``cpus`` (those this process may use) and, for each of
        :data:`PACKAGES`, its version, or None where it is not installed.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": _cpus(),
        **{name: _version(name) for name in PACKAGES},
    }


def git_commit(folder: Path) -> str | None:
    """The commit checked out in a folder.

    Args:
        folder: Any folder of a working tree.

    Returns:
        The full hash, with ``-dirty`` behind it when tracked files differ from it; None outside a repository, before
        the first commit, or without git.
    """
    commit = _git(folder, "rev-parse", "--verify", "HEAD")
    if commit is None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return f"{commit}-dirty" if changes else commit


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        result = subprocess.run(  # noqa: S603 (a fixed program, no shell)
            command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cpus() -> int | None:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()
