"""Stores that several tests share, because MLflow takes seconds to import and to make one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from promptopt.testing.run_log import RunLogStore
from promptopt.tracking.base import RunLog
from promptopt.tracking.memory import RecordedPrompt, RecordedRun

_SERVER_SECONDS = 120


class MlflowStore:
    """A store at an address; every log opened on it uses one experiment."""

    def __init__(self, uri: str, experiment: str, folder: Path) -> None:
        self.uri = uri
        self._experiment = experiment
        self._folder = folder

    def open(
        self,
        forbidden_texts: Mapping[str, str] | None = None,
        log_texts: bool = False,
        registered_prompts: bool = True,
    ) -> RunLog:
        from promptopt.tracking.mlflow_log import MlflowRunLog

        return MlflowRunLog(self.uri, self._experiment, forbidden_texts, log_texts, registered_prompts)

    @cached_property
    def client(self) -> Any:
        from mlflow import MlflowClient

        return MlflowClient(self.uri, self.uri)

    def read(self, run_id: str) -> RecordedRun:
        run = self.client.get_run(run_id)
        tags = dict(run.data.tags)
        linked = json.loads(tags.get("mlflow.linkedPrompts", "[]"))
        return RecordedRun(
            name=run.info.run_name,
            parent=tags.get("mlflow.parentRunId"),
            status=run.info.status.lower(),
            tags=tags,
            params=dict(run.data.params),
            metrics={
                name: [(point.step, point.value) for point in self.client.get_metric_history(run_id, name)]
                for name in run.data.metrics
            },
            files=self._files(run_id, run.info.artifact_uri),
            datasets=[
                {
                    "name": used.dataset.name,
                    "digest": next(t.value for t in used.tags if t.key == "promptopt.digest"),
                    "context": next(t.value for t in used.tags if t.key == "mlflow.data.context"),
                    "source": json.loads(used.dataset.source)["uri"],
                    "cases": json.loads(used.dataset.profile)["num_rows"],
                }
                for used in run.inputs.dataset_inputs
            ],
            prompts=[f"prompts:/{entry['name']}/{entry['version']}" for entry in linked],
        )

    def read_prompt(self, uri: str) -> RecordedPrompt:
        name, version = uri.removeprefix("prompts:/").split("/")
        prompt = self.client.get_prompt_version(name, version)
        return RecordedPrompt(messages=prompt.template, tags=dict(prompt.tags))

    def _files(self, run_id: str, artifact_uri: str) -> dict[str, str]:
        from mlflow.artifacts import download_artifacts

        target = self._folder / run_id
        target.mkdir(parents=True, exist_ok=True)
        if not self.client.list_artifacts(run_id):
            return {}
        got = Path(download_artifacts(artifact_uri, dst_path=str(target), tracking_uri=self.uri))
        # newline="" keeps the line ends that were written.
        return {
            path.relative_to(got).as_posix(): path.open(encoding="utf-8", newline="").read()
            for path in got.rglob("*")
            if path.is_file()
        }


@pytest.fixture(scope="session")
def sqlite_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that does not exist yet, in a folder that does not exist yet."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'runs' / 'mlflow.db'}"


@pytest.fixture(scope="session")
def server_uri(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tracking server on the loopback interface, with its own database."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'server.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    # Its job runner imports libraries that wait for the network.
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment, start_new_session=True)
        try:
            _wait_for(uri, server, folder / "server.log")
            yield uri
        finally:
            _stop(server)


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], RunLogStore]:
    """Makes a store from an address and the name of an experiment."""
    return lambda uri, experiment: MlflowStore(uri, experiment, tmp_path_factory.mktemp("downloads"))


def _wait_for(uri: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _SERVER_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urlopen(f"{uri}/health", timeout=2):  # noqa: S310 (http to the loopback)
                return
        except (URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


def _stop(server: subprocess.Popen[bytes]) -> None:
    # The server's own session holds its workers too.
    os.killpg(server.pid, signal.SIGTERM)
    try:
        server.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(timeout=20)
