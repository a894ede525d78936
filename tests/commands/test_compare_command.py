"""``promptopt compare``: finished sweeps side by side."""

from __future__ import annotations

import json
import shutil

import pytest

LONG = "a-sweep-with-a-long-name-seed1"


@pytest.fixture(scope="module")
def run_id(runs):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{runs / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("promptopt")
    found = client.search_runs([experiment.experiment_id], filter_string="tags.`promptopt.kind` = 'sweep'")
    return found[0].info.run_id


def test_runs_go_by_name_folder_and_mlflow_run_id(ok, runs, run_id):
    by_name = ok("compare", "one", "--runs-dir", runs, "--json").json
    by_folder = ok("compare", runs / "one", "--json").json
    by_run_id = ok("compare", run_id, "--runs-dir", runs, "--json").json
    by_address = ok("compare", run_id, "--tracking-uri", f"sqlite:///{runs / 'mlflow.db'}", "--json").json

    assert by_name == by_folder == by_run_id == by_address


def test_figures_are_those_of_the_summaries(ok, runs):
    shown = ok("compare", "one", LONG, "--runs-dir", runs, columns=120).out
    for name in ("one", LONG):
        summary = json.loads((runs / name / "summary.json").read_text())
        auprc = summary["winner"]["reports"]["test"]["metrics"]["auprc"]
        assert f"{auprc['point']:.3f} [{auprc['low']:.3f}, {auprc['high']:.3f}]" in shown
        assert f"{summary['judgements']:,}" in shown


def test_runs_that_do_not_fit_side_by_side_stand_below_each_other(ok, runs):
    shown = ok("compare", *[LONG] * 6, "--runs-dir", runs, columns=100).out
    headings = [line.split() for line in shown.splitlines() if LONG in line]

    assert headings == [[LONG, LONG]] * 3
    assert max(map(len, shown.splitlines())) <= 100


def test_different_golden_sets_are_pointed_out(ok, runs, tmp_path):
    shutil.copytree(runs / "one", tmp_path / "other")
    summary = json.loads((tmp_path / "other" / "summary.json").read_text())
    (tmp_path / "other" / "summary.json").write_text(json.dumps(summary | {"golden_digest": "f" * 64}))

    assert "The golden sets differ" in ok("compare", runs / "one", tmp_path / "other").out
    assert "The golden sets differ" not in ok("compare", runs / "one", runs / LONG).out


def test_a_run_that_is_not_there(refused, runs, tmp_path):
    assert f"choose from {LONG}, one" in refused("compare", "nowhere", "--runs-dir", runs)
    assert "promptopt sweep` first" in refused("compare", "nowhere", "--runs-dir", tmp_path)


def test_a_run_id_where_there_is_no_store_makes_none(refused, tmp_path):
    sentence = refused("compare", "0" * 32, "--runs-dir", tmp_path / "runs")

    assert sentence.startswith(f"{tmp_path / 'runs' / 'mlflow.db'}: there is no tracking store; ")
    assert list(tmp_path.iterdir()) == []


def test_a_run_id_that_the_store_does_not_have(refused, runs):
    assert "name the parent run of a finished sweep" in refused("compare", "0" * 32, "--runs-dir", runs)


def test_a_server_that_does_not_answer_is_not_waited_for(refused):
    sentence = refused("compare", "0" * 32, "--tracking-uri", "http://127.0.0.1:1")

    assert "no tracking server answers" in sentence


@pytest.mark.parametrize("content", ["{}", "not JSON", '{"name": "x"'])
def test_a_summary_of_another_version(refused, tmp_path, content):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "summary.json").write_text(content)

    assert "does not fit this version of promptopt" in refused("compare", "old", "--runs-dir", tmp_path)
