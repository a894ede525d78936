"""The command line, called in this process, and finished sweeps to call it on."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from promptopt import cli

ROOT = Path(__file__).resolve().parents[2]
SWEEP = (
    "judge=fake",
    "experiment=quickstart",
    "domain=violence",
    "program=direct",
    "program.demos.counts=[0,4,8]",
    "search.operating_point.criterion=recall_at_precision",
    "search.racing.blocks=[24]",
    "search.racing.keep=0.22",
    "search.budget.trials=4",
    "search.finalists=1",
)


@pytest.fixture(scope="session")
def small_sweep() -> tuple[str, ...]:
    """Settings of the sweep ``one`` in the folder of ``runs``."""
    return SWEEP


@dataclass(frozen=True)
class Called:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)


def _call(*arguments: object, columns: int | None = None) -> Called:
    out, err = io.StringIO(), io.StringIO()
    width = {"COLUMNS": str(columns)} if columns else {}
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", ["promptopt", *map(str, arguments)]),
        mock.patch.dict(os.environ, width),
    ):
        try:
            cli.main()
            code = 0
        except SystemExit as ending:
            code = ending.code or 0
    return Called(code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def call() -> Callable[..., Called]:
    """Calls ``promptopt`` with arguments; ``columns`` is the width of its terminal."""
    return _call


@pytest.fixture(scope="session")
def ok() -> Callable[..., Called]:
    """As ``call``, and fails unless the command ends well."""

    def run(*arguments: object, columns: int | None = None) -> Called:
        called = _call(*arguments, columns=columns)
        assert called.code == 0, called.err
        return called

    return run


@pytest.fixture(scope="session")
def refused() -> Callable[..., str]:
    """Calls a command that must be refused as a user's mistake; gives the sentence."""

    def run(*arguments: object) -> str:
        called = _call(*arguments)
        assert called.code == 2, (called.code, called.out)
        assert called.out == ""
        assert "Traceback" not in called.err
        (sentence,) = called.err.splitlines()
        assert sentence.startswith("promptopt: ")
        assert sentence.endswith(".")
        return sentence.removeprefix("promptopt: ")

    return run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory, ok: Callable[..., Called]) -> Path:
    """A folder of runs: ``one`` is logged to MLflow, ``a-sweep-with-a-long-name-seed1`` is not."""
    folder = tmp_path_factory.mktemp("runs")
    ok("sweep", *SWEEP, f"runs_dir={folder}", "name=one", "tracking=mlflow")
    ok("sweep", *SWEEP, f"runs_dir={folder}", "name=a-sweep-with-a-long-name-seed1", "seed=1", "tracking=none")
    return folder


@pytest.fixture(scope="session")
def bundle(runs: Path) -> Path:
    return runs / "one" / "bundle"


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """Five rows to judge, with columns of several kinds; two of them hold no text."""
    rows = [
        {"id": 1, "text": "I will kill you", "tags": ["a", "b"], "score": 0.5},
        {"id": 2, "text": "a recipe for bread, with “quotes”\nand two lines", "tags": [], "score": None},
        {"id": 3, "text": "", "tags": None, "score": 1.0},
        {"id": 4, "text": None, "tags": ["c"], "score": 2.0},
        {"id": 5, "text": "Grüße", "tags": None, "score": -1.0},
    ]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def labelled() -> list[dict[str, Any]]:
    """60 rows with labels, one text and one group each, no two texts alike."""
    rows = []
    for n in range(60):
        draw = random.Random(n)
        text = " ".join("".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(10))
        rows.append({"id": f"r{n:02d}", "text": text, "label": "violation" if n % 2 else "allowed"})
    return rows


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows (objects, or lines as they are) as JSON lines."""

    def write(rows: list[Any], name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def imported(tmp_path_factory: pytest.TempPathFactory, labelled: list[dict[str, Any]], ok: Any) -> Path:
    """The labelled rows as a golden set of the domain violence."""
    folder = tmp_path_factory.mktemp("imported")
    source = folder / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in labelled), encoding="utf-8")
    ok("golden", "import", source, folder / "set", "--format", "jsonl", "--domain", "violence")
    return folder / "set"


@pytest.fixture
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def datasets() -> Path:
    folder = Path(os.environ.get("PROMPTOPT_DATASETS", ROOT.parent / "shared" / "datasets"))
    if not folder.is_dir():
        pytest.skip("the outside data sets are not here; set PROMPTOPT_DATASETS to their folder")
    return folder
