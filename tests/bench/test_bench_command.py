"""``promptopt bench engine``."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from promptopt import cli

QUICK = ("--prefix", "128", "--item", "12", "--variants", "1", "--seconds", "0.05", "--cases", "70", "--batch", "4",
         "--threads", "1", "--device", "cpu", "--dtype", "float32")  # fmt: skip


@dataclass(frozen=True)
class Called:
    code: int
    out: str
    err: str


def call(*arguments: object) -> Called:
    out, err = io.StringIO(), io.StringIO()
    called = mock.patch.object(sys, "argv", ["promptopt", "bench", "engine", *map(str, arguments)])
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), called:
        try:
            cli.main()
            code = 0
        except SystemExit as ending:
            code = ending.code or 0
    return Called(code, out.getvalue(), err.getvalue())


def test_it_prints_a_table_and_writes_csv_json_and_a_page(tiny_folder: Path, tmp_path: Path):
    done = call("--model", tiny_folder, *QUICK, "--methods", "padded,engine,sequence,dspy-server", "--out", tmp_path)
    assert done.code == 0, done.err
    assert "prefix 128, item 12, 1 variant" in done.out
    assert "x padded: " in done.out
    assert "dspy-server: not measured" in done.out
    assert {path.name for path in tmp_path.iterdir()} == {"rows.csv", "result.json", "report.html"}
    assert len((tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()) == 5
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["complete"] is True


def test_json_is_one_document(tiny_folder: Path, tmp_path: Path):
    done = call("--model", tiny_folder, *QUICK, "--methods", "engine,padded", "--out", tmp_path, "--json")
    assert done.code == 0, done.err
    data = json.loads(done.out)
    assert [row["method"] for row in data["rows"]] == ["engine", "padded"]
    assert data["cells"][0]["peers"]["padded"]["ratio"] > 0
    assert data["out"] == str(tmp_path)


def test_ctrl_c_leaves_csv_json_and_page(tiny_folder: Path, tmp_path: Path, monkeypatch):
    from promptopt.bench import methods

    def interrupted(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(methods, "time_padded", interrupted)
    done = call("--model", tiny_folder, *QUICK, "--methods", "engine,padded", "--out", tmp_path)
    assert done.code == 130
    assert len((tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()) == 2
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))["complete"] is False


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--prefix", "512,x"), "--prefix: expected whole numbers above 0 with commas between them, found '512,x'"),
        (("--item", "0"), "--item: expected whole numbers above 0 with commas between them, found '0'"),
        (("--variants", "1,,2"), "--variants: expected whole numbers above 0 with commas between them, found '1,,2'"),
        (("--server-threads", "-1"), "--server-threads: expected whole numbers above 0"),
        (("--methods", "engine,magic"), "--methods: no method 'magic'; choose from engine, sequence"),
        (("--seconds", "0"), "--seconds: input should be greater than 0, found 0.0."),
        (("--batch-tokens", "-5"), "--batch-tokens: input should be greater than or equal to 0, found -5."),
        (("--gguf", "nowhere.gguf"), "nowhere.gguf: no such file; check --gguf."),
        (("--prefix", "2048"), "and the model reads 1,024; choose a shorter --prefix or --item"),
        (("--dtype", "int7"), "unknown dtype 'int7'"),
    ],
)
def test_mistakes_are_one_sentence(tiny_folder: Path, tmp_path: Path, options, sentence):
    done = call("--model", tiny_folder, *QUICK, "--out", tmp_path, *options)
    assert done.code == 2, done.err
    assert done.out == ""
    (said,) = done.err.splitlines()
    assert said.startswith("promptopt: ")
    assert sentence in said


def test_a_model_that_does_not_exist_is_one_sentence(tmp_path: Path):
    done = call("--model", tmp_path / "nothing", "--out", tmp_path)
    assert done.code == 2
    assert "no such model folder" in done.err
