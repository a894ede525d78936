"""What several rooms' tests need: a PostgreSQL server that the test run starts, and a task of the search benchmark."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest


def _server_programs() -> Path | None:
    """The folder of initdb and pg_ctl; Debian keeps them out of the search path."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name), default=None)


def _unprivileged() -> str | None:
    """A user other than root, as whom PostgreSQL agrees to run; None when this process is none."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


@pytest.fixture(scope="session")
def postgres_folder():
    """The socket folder of a running server."""
    pytest.importorskip("psycopg", reason="the driver psycopg is not installed")
    programs = _server_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    user = _unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short: a socket's path has at most 107 letters
    if user:
        shutil.chown(folder, user)

    def run(*command: object) -> None:
        subprocess.run(
            [str(part) for part in command], check=True, user=user, cwd=folder, timeout=60, stdout=subprocess.DEVNULL
        )

    data = folder / "data"
    run(programs / "initdb", "-D", data, "-U", "tester", "--auth=trust", "--no-sync", "--no-locale", "-E", "UTF8")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off -c deadlock_timeout=100ms"
    run(programs / "pg_ctl", "-D", data, "-l", folder / "log", "-w", "-o", options, "start")
    yield folder
    run(programs / "pg_ctl", "-D", data, "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.fixture
def postgres_url(postgres_folder):
    """A fresh database."""
    import psycopg

    name = f"t{uuid4().hex}"
    with psycopg.connect(host=str(postgres_folder), user="tester", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql+psycopg://tester@/{name}?host={postgres_folder}"


@pytest.fixture
def search_tasks_file(tmp_path):
    """A file of one search task on the stand-in judge."""
    path = tmp_path / "tasks.yaml"
    path.write_text(
        f"""
judgements: 250
search_cases: 40
calibration_cases: 30
test_cases: 40
overrides: [judge=fake, program=direct, tracking=none, 'runs_dir={tmp_path}/runs']
tasks:
  abuse: [domain=abuse]
""",
        encoding="utf-8",
    )
    return path
