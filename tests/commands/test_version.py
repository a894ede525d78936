"""Which version is installed, asked either way."""

from __future__ import annotations

import subprocess
import sys

from typer.testing import CliRunner

from promptopt import __version__
from promptopt.cli import app


def test_the_version_is_shown_and_nothing_else_is_asked_for():
    shown = CliRunner().invoke(app, ["--version", "sweep"])
    assert shown.exit_code == 0
    assert shown.stdout == f"promptopt {__version__}\n"


def test_the_package_is_a_program():
    done = subprocess.run([sys.executable, "-m", "promptopt", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"promptopt {__version__}\n"
