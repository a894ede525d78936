"""What a sweep writes to MLflow, and what it keeps out of it."""

from __future__ import annotations

import html
import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from promptopt.core.case import Split
from promptopt.tracking.memory import MemoryRunLog

PLOTS = {"precision_recall", "score_distribution", "reliability", "cost_quality", "history"}


@pytest.fixture(scope="module")
def store(tracked):
    """The MLflow store that ``tracked`` wrote, read through MLflow's own client."""
    from mlflow import MlflowClient

    return _read_store(MlflowClient, tracked.folder.parent)


def _read_store(client_type, runs: Path) -> SimpleNamespace:
    uri = f"sqlite:///{runs / 'mlflow.db'}"
    client = client_type(uri, uri)
    experiment = client.get_experiment_by_name("promptopt")
    found = client.search_runs([experiment.experiment_id])
    parents = [run for run in found if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    return SimpleNamespace(client=client, runs=found, parents=parents, children=children)


def _artifacts(store, run, folder=""):
    for item in store.client.list_artifacts(run.info.run_id, folder):
        if item.is_dir:
            yield from _artifacts(store, run, item.path)
        else:
            yield item.path


def _json_artifact(store, run, name, tmp_path):
    return json.loads(Path(store.client.download_artifacts(run.info.run_id, name, tmp_path)).read_text())


def test_one_parent_run_with_a_child_for_the_seed_prompt_and_each_finalist(tracked, store):
    comparison = tracked.outcome.comparison
    (parent,) = store.parents
    roles = {run.data.tags["promptopt.kind"]: run for run in store.children}

    assert parent.info.run_name == "small"
    assert set(roles) == {"seed prompt", "winner", "finalist 2"}
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in store.children)
    assert all(run.info.status == "FINISHED" for run in store.runs)
    assert roles["seed prompt"].data.params["candidate"] == comparison.seed.digest
    assert roles["winner"].data.params["candidate"] == comparison.winner.digest
    assert parent.data.tags["promptopt.winner"] == comparison.winner.record.candidate.short_digest


def test_metrics_over_steps_cover_every_trial(tracked, store):
    (parent,) = store.parents
    history = store.client.get_metric_history(parent.info.run_id, "best_so_far")
    records = tracked.outcome.result.records
    best, expected = 0.0, {}
    for step, record in enumerate(records):
        best = max(best, record.metrics["auprc"]) if record.complete else best
        expected[step] = best

    assert {point.step: point.value for point in history} == pytest.approx(expected)
    auprc = {p.step: p.value for p in store.client.get_metric_history(parent.info.run_id, "auprc")}
    assert auprc == pytest.approx({step: record.metrics["auprc"] for step, record in enumerate(records)})


def test_final_metrics_are_those_of_the_sealed_test(tracked, store):
    (parent,) = store.parents
    winner = tracked.outcome.comparison.winner

    for split in Split:
        for name, interval in winner.reports[split].metrics.items():
            assert parent.data.metrics.get(f"winner_{split}/{name}", float("nan")) == pytest.approx(
                interval.point, nan_ok=True
            )
    assert parent.data.metrics["judgements"] == tracked.outcome.spent.judgements


def test_golden_set_is_an_input_with_its_digest(tracked, store):
    (parent,) = store.parents
    inputs = parent.inputs.dataset_inputs

    assert {used.dataset.name for used in inputs} == {"violence.search", "violence.calibration", "violence.test"}
    for used in inputs:
        tags = {tag.key: tag.value for tag in used.tags}
        rows = len(tracked.golden.split(Split(tags["mlflow.data.context"])))
        assert tags["promptopt.digest"] == tracked.golden.digest
        assert json.loads(used.dataset.profile)["num_rows"] == rows


def test_finalists_prompts_are_registered_linked_and_redacted(tracked, store):
    roles = {"seed prompt": tracked.outcome.comparison.seed, "winner": tracked.outcome.comparison.winner}
    for run in store.children:
        role = run.data.tags["promptopt.kind"]
        (linked,) = json.loads(run.data.tags["mlflow.linkedPrompts"])
        prompt = store.client.get_prompt_version(linked["name"], linked["version"])
        text = "\n".join(message["content"] for message in prompt.template)

        question = tracked.outcome.comparison.winner.prompts[0].question
        assert linked["name"] == f"promptopt.violence.{question}"
        assert "{{text}}" in text
        if role in roles:
            demos = roles[role].record.candidate.demos
            assert [f"[case {demo}]" in text for demo in demos] == [True, True]


def test_configuration_engine_versions_trials_and_figures_are_artifacts(tracked, store, tmp_path):
    (parent,) = store.parents
    names = set(_artifacts(store, parent))
    expected = {"config.json", "engine_card.json", "environment.json", "trials.csv", "summary.json"}

    assert names >= expected | {f"plots/{name}.html" for name in PLOTS}
    config = _json_artifact(store, parent, "config.json", tmp_path)
    assert config == tracked.config.model_dump(mode="json")
    card = _json_artifact(store, parent, "engine_card.json", tmp_path)
    assert card == tracked.outcome.bundle.engine
    assert "optuna" in json.dumps(_json_artifact(store, parent, "environment.json", tmp_path))
    table = Path(store.client.download_artifacts(parent.info.run_id, "trials.csv", tmp_path)).read_text()
    assert len(table.splitlines()) == 1 + len(tracked.outcome.result.records)


def test_run_names_the_commit(store):
    command = ["git", "rev-parse", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        pytest.skip("the tests do not run in a git checkout")
    (parent,) = store.parents

    assert parent.data.tags["git.commit"].startswith(found.stdout.strip())


def test_running_it_again_creates_no_run_prompt_or_metric(tracked, store, sweep):
    from mlflow import MlflowClient

    (parent,) = store.parents
    points = len(store.client.get_metric_history(parent.info.run_id, "auprc"))
    prompts = len(store.client.search_prompts())

    again = sweep(tracked.folder.parent, "tracking=mlflow")

    now = _read_store(MlflowClient, tracked.folder.parent)
    assert again.display.calls == []
    assert {run.info.run_id for run in now.runs} == {run.info.run_id for run in store.runs}
    assert all(run.info.status == "FINISHED" for run in now.runs)
    assert len(now.client.get_metric_history(parent.info.run_id, "auprc")) == points
    assert len(now.client.search_prompts()) == prompts


def test_no_text_of_a_golden_case_is_anywhere_in_the_store(tracked, store):
    assert _texts_found(tracked) == set()


def test_texts_are_logged_on_request_only(tracked, sweep, tmp_path):
    shutil.copy(tracked.folder.parent / "mlflow.db", tmp_path)  # because MLflow takes seconds to make one
    overrides = ["tracking.experiment=texts", "tracking.log_texts=true", "search.budget.trials=1"]

    finished = sweep(tmp_path, "tracking=mlflow", *overrides)

    assert _texts_found(finished) == {case.id for case in finished.golden.cases}


def _texts_found(finished) -> set[str]:
    """Ids of the golden cases whose texts occur in MLflow's database or files, escaped in whatever way."""
    runs = finished.folder.parent
    haystacks = [path.read_bytes() for path in (runs / "mlartifacts").rglob("*") if path.is_file()]
    haystacks += [path.read_bytes() for path in runs.glob("mlflow.db*")]
    haystacks.append("\n".join(_cells(runs / "mlflow.db")).encode())  # a long cell is in pieces in the file
    assert len(haystacks) > 10
    haystack = b"\n".join(haystacks)
    return {case.id for case in finished.golden.cases if any(form in haystack for form in _forms(case.text))}


def _cells(database: Path):
    with closing(sqlite3.connect(database)) as connection:
        for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
            for row in connection.execute(f'select * from "{table}"'):  # noqa: S608 (MLflow's own names)
                yield from map(str, row)


def _forms(text: str) -> set[bytes]:
    once = {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    twice = {json.dumps(form)[1:-1] for form in once}
    doubled = {text.replace('"', '""'), html.escape(text)}
    return {form.encode() for form in once | twice | doubled}


def test_a_larger_budget_with_another_winner_continues_the_same_run(sweep, tmp_path, monkeypatch):
    log = MemoryRunLog()
    monkeypatch.setattr("promptopt.pipeline.workspace.open_run_log", lambda *_: log)
    first = sweep(tmp_path, "search.budget.trials=1").outcome
    for trials in (8, 16, 32):
        last = sweep(tmp_path, f"search.budget.trials={trials}").outcome
        if last.comparison.winner.digest != first.comparison.winner.digest:
            break
    else:
        pytest.fail("the seed prompt won every time")
    assert last.result.records[:1] == first.result.records
    parents = [run for run in log.runs.values() if run.parent is None]
    winners = [run for run in log.runs.values() if run.tags.get("promptopt.kind") == "winner"]

    assert len(parents) == 1
    assert parents[0].tags["promptopt.winner"] == last.comparison.winner.record.candidate.short_digest
    assert {first.comparison.winner.digest, last.comparison.winner.digest} <= {
        run.params["candidate"] for run in winners
    }


def test_an_interrupted_sweep_is_marked_and_its_run_goes_on(sweep, tmp_path, monkeypatch, quiet_display):
    log = MemoryRunLog()
    monkeypatch.setattr("promptopt.pipeline.workspace.open_run_log", lambda *_: log)

    class Interrupting(quiet_display):
        def trial_finished(self, record, records):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(tmp_path, display=Interrupting())
    ((parent, run),) = log.runs.items()
    assert run.status == "killed"

    sweep(tmp_path, "search.budget.trials=1")
    assert log.runs[parent].status == "finished"
    assert len([run for run in log.runs.values() if run.parent is None]) == 1


def test_a_failed_sweep_is_marked(sweep, tmp_path, monkeypatch):
    log = MemoryRunLog()
    monkeypatch.setattr("promptopt.pipeline.workspace.open_run_log", lambda *_: log)
    monkeypatch.setattr("promptopt.search.sweep.Sweep.run", lambda *_: 1 / 0)

    with pytest.raises(ZeroDivisionError):
        sweep(tmp_path)

    assert [run.status for run in log.runs.values()] == ["failed"]


def test_passwords_of_stores_stay_out_of_the_log_and_the_summary(sweep, tmp_path, monkeypatch):
    log = MemoryRunLog()
    monkeypatch.setattr("promptopt.pipeline.workspace.open_run_log", lambda *_: log)

    finished = sweep(
        tmp_path, "tracking=mlflow", "tracking.uri=https://me:secret@mlflow.example", "search.budget.trials=1"
    )

    (parent,) = [run for run in log.runs.values() if run.parent is None]
    assert json.loads(parent.files["config.json"])["tracking"]["uri"] == "https://mlflow.example"
    assert not any("secret" in text for text in parent.files.values())
    assert "secret" not in (finished.folder / "summary.json").read_text()
