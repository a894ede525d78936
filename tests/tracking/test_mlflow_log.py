"""The MLflow log keeps the contract on a SQLite file, and does what only MLflow asks for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from promptopt.errors import ConfigError
from promptopt.testing.run_log import RunLogContract, RunLogStore, make_prompt, make_record
from promptopt.tracking.base import RunLog

MakeStore = Callable[[str, str], RunLogStore]


class TestMlflowRunLogOnSqlite(RunLogContract):
    @pytest.fixture(autouse=True)
    def _shared_store(self, sqlite_uri: str, make_store: MakeStore) -> None:
        self.store = make_store(sqlite_uri, "contract")


def test_artifacts_lie_beside_the_database(sqlite_uri: str, make_store: MakeStore) -> None:
    log = make_store(sqlite_uri, "beside").open()
    assert isinstance(log, RunLog)
    run_id = log.open_run("name", "key")
    log.log_text(run_id, "found me", "a/note.txt")
    folder = Path(sqlite_uri.removeprefix("sqlite:///")).parent
    assert [path.read_text() for path in folder.rglob("note.txt")] == ["found me"]
    assert {path.name for path in folder.iterdir()} == {"mlflow.db", "mlartifacts"}
    assert log.url(run_id) is None


def test_the_same_key_in_another_experiment_is_another_run(sqlite_uri: str, make_store: MakeStore) -> None:
    ids = {make_store(sqlite_uri, name).open().open_run("name", "shared") for name in ("first", "second")}
    assert len(ids) == 2


def test_prompts_show_in_each_experiment_that_uses_them(sqlite_uri: str, make_store: MakeStore) -> None:
    from mlflow import MlflowClient

    for name in ("one", "two"):
        log = make_store(sqlite_uri, name).open()
        log.register_prompt(log.open_run("name", "key"), "walrus.shared", make_prompt())
    client = MlflowClient(sqlite_uri, sqlite_uri)
    for name in ("one", "two"):
        experiment_id = client.get_experiment_by_name(name).experiment_id
        found = client.search_prompts(filter_string=f'experiment_id = "{experiment_id}"')
        assert [prompt.name for prompt in found] == ["walrus.shared"]


def test_mlflow_fills_a_registered_prompt_like_promptopt(sqlite_uri: str, make_store: MakeStore) -> None:
    from mlflow import MlflowClient

    log = make_store(sqlite_uri, "format").open()
    uri = log.register_prompt(log.open_run("name", "key"), "walrus.format", make_prompt())
    prompt = MlflowClient(sqlite_uri, sqlite_uri).load_prompt(uri)
    assert prompt.variables == {"text"}
    assert prompt.format(text="an item")[1]["content"] == make_prompt().messages("an item")[1]["content"]


def test_a_logged_golden_set_names_its_source(sqlite_uri: str, make_store: MakeStore) -> None:
    import mlflow
    from mlflow import MlflowClient

    log = make_store(sqlite_uri, "source").open()
    run_id = log.open_run("name", "key")
    log.log_dataset(run_id, make_record())
    (used,) = MlflowClient(sqlite_uri, sqlite_uri).get_run(run_id).inputs.dataset_inputs
    assert used.dataset.digest == "d" * 36
    assert mlflow.data.get_source(used.dataset).uri == "walrus.jsonl"


def test_a_deleted_experiment_is_a_user_error(sqlite_uri: str, make_store: MakeStore) -> None:
    from mlflow import MlflowClient

    store = make_store(sqlite_uri, "deleted")
    store.open()
    client = MlflowClient(sqlite_uri, sqlite_uri)
    client.delete_experiment(client.get_experiment_by_name("deleted").experiment_id)
    with pytest.raises(ConfigError, match="mlflow experiments restore"):
        store.open()


def test_an_experiment_is_logged_without_a_word_on_the_terminal(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from promptopt.testing.run_log import make_prompt, make_record
from promptopt.tracking.config import TrackingConfig
from promptopt.tracking.factory import open_run_log
assert "mlflow" not in sys.modules
log = open_run_log(TrackingConfig(), Path(sys.argv[1]) / "runs", {})
run_id = log.open_run("name", "key")
log.log_metrics(run_id, {"a": 1.0}, 1)
log.log_text(run_id, "text", "a.txt")
log.log_dataset(run_id, make_record())
log.register_prompt(run_id, "quiet", make_prompt())
log.finish(run_id)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert (result.stdout, result.stderr) == ("", "")
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
