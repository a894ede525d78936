"""``promptopt bench search --tasks``: tables, progress, JSON and what is refused."""

from __future__ import annotations

import pytest

METHODS = ("promptopt", "seed", "reanchor")


@pytest.fixture
def arguments(search_tasks_file, tmp_path):
    return ["bench", "search", "--tasks", search_tasks_file, "--seeds", 1, "--out", tmp_path / "out"]


def test_the_table_names_every_method_and_says_what_its_columns_are(call, arguments, tmp_path):
    called = call(*arguments, "--methods", ",".join(METHODS), columns=160)
    assert called.code == 0, called.err
    lines = called.out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith(METHODS) and "[" in line] == list(METHODS)
    assert "promptopt minus it" in called.out
    assert "F1 is that of the threshold which keeps the precision floor on the calibration cases." in lines
    assert f"written to {tmp_path / 'out'}" in called.out
    assert "abuse: 3 of 3 cells to run" in called.err
    assert sum("test AUPRC" in line for line in called.err.splitlines()) == len(METHODS)


def test_json_is_one_document_and_a_second_call_runs_nothing(call, arguments):
    first = call(*arguments, "--methods", "seed,promptopt,seed", "--json")
    assert first.code == 0, first.err
    assert [row["method"] for row in first.json["rows"]] == ["seed", "promptopt"], "each method once"
    again = call(*arguments, "--methods", "seed,promptopt", "--json")
    assert again.json == first.json
    assert again.err == ""


@pytest.mark.parametrize(
    ("methods", "said"),
    [("seed,miprov3", "miprov3"), ("seed@sonnet", "sonnet")],
)
def test_an_unknown_method_or_shape_is_one_sentence(call, arguments, methods, said, tmp_path):
    called = call(*arguments, "--methods", methods)
    assert called.code == 2
    assert said in called.err
    assert called.err.strip().count("\n") == 0
    assert not (tmp_path / "out").exists()
