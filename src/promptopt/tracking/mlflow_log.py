"""The run log in MLflow: a SQLite file with its artifacts beside it, or a tracking server.

Every call names its run and its store. MLflow's fluent interface keeps a current run and a current store in the
process, autologging writes demonstration texts as parameters, and ``link_prompt_version_to_run`` and
``register_prompt`` reach for the process-wide store whatever the client's is, so none of them is used.
"""

from __future__ import annotations

import getpass
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from promptopt.errors import ConfigError
from promptopt.tracking.base import KEY_TAG, GoldenRecord, RunStatus, TrackingStoreError
from promptopt.tracking.checked import CONTENT_TAG, CheckedRunLog, MetricPoint
from promptopt.tracking.stores import SQLITE, check_server, prepare_sqlite, without_credentials

# MLflow reads these when it is imported; a user's own choice stands.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run, RunTag
from mlflow.entities.model_registry import PromptVersion
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import PROMPT_EXPERIMENT_IDS_TAG_KEY
from mlflow.tracing.utils.prompt import update_linked_prompts_tag
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)

LINKED_PROMPTS_TAG = "mlflow.linkedPrompts"
ARTIFACT_FOLDER = "mlartifacts"

_STATUS = {"finished": "FINISHED", "failed": "FAILED", "killed": "KILLED"}
_DIGEST_CHARACTERS = 36  # MLflow's limit; the whole digest goes into a tag of the input.


class MlflowRunLog(CheckedRunLog):
    """Records runs in one MLflow experiment, which it creates when it is new.

    Args:
        tracking_uri: ``sqlite:///<file>`` or the address of a tracking server.
        experiment: Name of the experiment.
        forbidden_texts: Case id to text; see :class:`promptopt.tracking.checked.CheckedRunLog`.
        log_texts: Whether case texts may be written.
        registered_prompts: False keeps prompts as files of their runs.

    Raises:
        ConfigError: The experiment was deleted.
        TrackingStoreError: The store cannot be reached or made.
    """

    def __init__(
        self,
        tracking_uri: str,
        experiment: str,
        forbidden_texts: Mapping[str, str] | None = None,
        log_texts: bool = False,
        registered_prompts: bool = True,
    ) -> None:
        super().__init__(forbidden_texts, log_texts, registered_prompts)
        self._uri = tracking_uri
        self._shown_uri = without_credentials(tracking_uri)
        artifacts = None
        if tracking_uri.startswith(SQLITE):
            artifacts = prepare_sqlite(tracking_uri) / ARTIFACT_FOLDER
        else:
            check_server(tracking_uri)
        with self._store_errors():
            self._client = MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)
            self._experiment_id = self._open_experiment(experiment, artifacts)

    def logged_steps(self, run_id: str, metric: str) -> set[int]:
        with self._store_errors():
            return {point.step for point in self._client.get_metric_history(run_id, metric)}

    def finish(self, run_id: str, status: RunStatus = "finished") -> None:
        with self._store_errors():
            self._client.set_terminated(run_id, _STATUS[status])

    def url(self, run_id: str) -> str | None:
        if self._uri.startswith(SQLITE):
            return None
        return f"{self._shown_uri.rstrip('/')}/#/experiments/{self._experiment_id}/runs/{run_id}"

    @contextmanager
    def _store_errors(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, OSError) as cause:
            lines = str(cause).strip().splitlines() or [type(cause).__name__]
            what = f"the tracking store failed ({lines[0].rstrip('.').replace(self._uri, self._shown_uri)})"
            remedy = "check the store and run the same command again to continue"
            raise TrackingStoreError(what, where=self._shown_uri, remedy=remedy) from cause

    def _open_experiment(self, name: str, artifacts: Path | None) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            location = None if artifacts is None else artifacts.as_uri()
            try:
                return str(self._client.create_experiment(name, artifact_location=location))
            except MlflowException as cause:
                experiment = self._client.get_experiment_by_name(name)
                if cause.error_code != "RESOURCE_ALREADY_EXISTS" or experiment is None:
                    raise
        if experiment.lifecycle_stage != "active":
            raise ConfigError(
                f"the MLflow experiment {name!r} was deleted",
                where="tracking.experiment",
                remedy=f"restore it with `mlflow experiments restore -x {experiment.experiment_id}` or choose another",
            )
        return str(experiment.experiment_id)

    def _run(self, run_id: str) -> Run:
        with self._store_errors():
            return self._client.get_run(run_id)

    def _find_run(self, key: str) -> str | None:
        with self._store_errors():
            runs = self._client.search_runs(
                [self._experiment_id],
                filter_string=f"tags.`{KEY_TAG}` = '{key}'",
                order_by=["attributes.start_time ASC"],
                max_results=1,
            )
        return str(runs[0].info.run_id) if runs else None

    def _create_run(self, name: str, parent: str | None, tags: Mapping[str, str]) -> str:
        own = {MLFLOW_SOURCE_NAME: "promptopt", MLFLOW_SOURCE_TYPE: "LOCAL", MLFLOW_USER: _user()}
        if parent is not None:
            own[MLFLOW_PARENT_RUN_ID] = parent
        with self._store_errors():
            run = self._client.create_run(self._experiment_id, run_name=name, tags={**own, **tags})
        return str(run.info.run_id)

    def _reopen_run(self, run_id: str, tags: Mapping[str, str]) -> None:
        with self._store_errors():
            self._client.update_run(run_id, status="RUNNING")
            self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()], synchronous=True)

    def _params(self, run_id: str) -> Mapping[str, str]:
        return dict(self._run(run_id).data.params)

    def _latest_metrics(self, run_id: str) -> Mapping[str, float]:
        return dict(self._run(run_id).data.metrics)

    def _write_params(self, run_id: str, params: Mapping[str, str]) -> None:
        with self._store_errors():
            self._client.log_batch(run_id, params=[Param(k, v) for k, v in params.items()], synchronous=True)

    def _write_metrics(self, run_id: str, points: Sequence[MetricPoint]) -> None:
        now = int(time.time() * 1000)
        with self._store_errors():
            metrics = [Metric(name, value, now, step) for name, value, step in points]
            self._client.log_batch(run_id, metrics=metrics, synchronous=True)

    def _write_file(self, run_id: str, text: str, file: str) -> None:
        with self._store_errors():
            self._client.log_text(run_id, text, file)

    def _write_dataset(self, run_id: str, record: GoldenRecord) -> None:
        dataset = Dataset(
            # MLflow keeps one dataset per name and digest, so the splits of one golden set need names of their own.
            name=f"{record.name}.{record.context}",
            digest=record.digest[:_DIGEST_CHARACTERS],
            source_type="local",
            source=json.dumps({"uri": record.source}),
            profile=json.dumps(_profile(record)),
        )
        tags = [InputTag(MLFLOW_DATASET_CONTEXT, record.context), InputTag("promptopt.digest", record.digest)]
        with self._store_errors():
            self._client.log_inputs(run_id, datasets=[DatasetInput(dataset, tags)])

    def _write_prompt(self, run_id: str, name: str, messages: list[dict[str, str]], tags: Mapping[str, str]) -> str:
        with self._store_errors():
            known = self._client.get_prompt(name)
            if known is None:
                self._client.create_prompt(name)
            version = self._find_version(name, tags[CONTENT_TAG]) if known else None
            if version is None:
                version = self._client.create_prompt_version(name, messages, tags=dict(tags))
            self._show_prompt_in_experiment(name, {} if known is None else dict(known.tags))
            current = self._client.get_run(run_id).data.tags.get(LINKED_PROMPTS_TAG)
            self._client.set_tag(run_id, LINKED_PROMPTS_TAG, update_linked_prompts_tag(current, [version]))
        return f"prompts:/{name}/{version.version}"

    def _find_version(self, name: str, content: str) -> PromptVersion | None:
        token: str | None = None
        while True:
            page = self._client.search_prompt_versions(name, max_results=100, page_token=token)
            found = [version for version in page if version.tags.get(CONTENT_TAG) == content]
            if found:
                return found[-1]
            token = getattr(page, "token", None)
            if not token:
                return None

    def _show_prompt_in_experiment(self, name: str, tags: Mapping[str, str]) -> None:
        """An experiment lists the prompts whose tag names it, as ``,1,7,``."""
        ids = [part for part in tags.get(PROMPT_EXPERIMENT_IDS_TAG_KEY, "").split(",") if part]
        if self._experiment_id not in ids:
            value = f",{','.join([*ids, self._experiment_id])},"
            self._client.set_prompt_tag(name, PROMPT_EXPERIMENT_IDS_TAG_KEY, value)


def _profile(record: GoldenRecord) -> dict[str, Any]:
    cases = record.cases
    return {
        "num_rows": len(cases),
        "violations": sum(case.is_violation for case in cases),
        "clauses": dict(sorted(Counter(case.clause or "none" for case in cases).items())),
        "languages": dict(sorted(Counter(case.language for case in cases).items())),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
