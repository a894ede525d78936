"""A run log in plain dictionaries, for tests and for looking at what a caller logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from promptopt.tracking.base import KEY_TAG, GoldenRecord, RunStatus, TrackingError
from promptopt.tracking.checked import CONTENT_TAG, CheckedRunLog, MetricPoint


@dataclass
class RecordedRun:
    """What a store holds of one run.

    Attributes:
        name: Name for people.
        parent: Run id of the parent.
        status: ``"running"`` or how it ended.
        tags: Tag to value.
        params: Parameter to value, as text.
        metrics: Metric to its (step, value) pairs in the order of writing.
        files: File to content.
        datasets: One mapping per golden set: name, digest, context, source, cases (their number).
        prompts: URIs of the linked prompts.
    """

    name: str
    parent: str | None = None
    status: str = "running"
    tags: dict[str, str] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    datasets: list[dict[str, Any]] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)


@dataclass
class RecordedPrompt:
    """One version of a registered prompt: its chat template and tags."""

    messages: list[dict[str, str]]
    tags: dict[str, str]


@dataclass
class MemoryStore:
    """What several logs may share, as processes share a database.

    Attributes:
        runs: Run id to run.
        prompts: Prompt name to its versions; version 1 comes first.
    """

    runs: dict[str, RecordedRun] = field(default_factory=dict)
    prompts: dict[str, list[RecordedPrompt]] = field(default_factory=dict)


class MemoryRunLog(CheckedRunLog):
    """Keeps everything in :attr:`store`; checks exactly what the MLflow log checks.

    Args:
        store: The store of an earlier log, to continue it.
        forbidden_texts: Case id to text; see :class:`promptopt.tracking.checked.CheckedRunLog`.
        log_texts: Whether case texts may be written.
        registered_prompts: False keeps prompts as files of their runs.
    """

    def __init__(
        self,
        store: MemoryStore | None = None,
        forbidden_texts: Mapping[str, str] | None = None,
        log_texts: bool = False,
        registered_prompts: bool = True,
    ) -> None:
        super().__init__(forbidden_texts, log_texts, registered_prompts)
        self.store = store or MemoryStore()

    @property
    def runs(self) -> dict[str, RecordedRun]:
        """Run id to run."""
        return self.store.runs

    def logged_steps(self, run_id: str, metric: str) -> set[int]:
        return {step for step, _ in self._run(run_id).metrics.get(metric, [])}

    def finish(self, run_id: str, status: RunStatus = "finished") -> None:
        self._run(run_id).status = status

    def _run(self, run_id: str) -> RecordedRun:
        if run_id not in self.store.runs:
            raise TrackingError(f"there is no run {run_id!r}")
        return self.store.runs[run_id]

    def _find_run(self, key: str) -> str | None:
        return next((run_id for run_id, run in self.store.runs.items() if run.tags[KEY_TAG] == key), None)

    def _create_run(self, name: str, parent: str | None, tags: Mapping[str, str]) -> str:
        run_id = f"run-{len(self.store.runs) + 1}"
        self.store.runs[run_id] = RecordedRun(name=name, parent=parent, tags=dict(tags))
        return run_id

    def _reopen_run(self, run_id: str, tags: Mapping[str, str]) -> None:
        run = self._run(run_id)
        run.status = "running"
        run.tags.update(tags)

    def _params(self, run_id: str) -> Mapping[str, str]:
        return self._run(run_id).params

    def _latest_metrics(self, run_id: str) -> Mapping[str, float]:
        return {name: sorted(points, key=lambda p: p[0])[-1][1] for name, points in self._run(run_id).metrics.items()}

    def _write_params(self, run_id: str, params: Mapping[str, str]) -> None:
        self._run(run_id).params.update(params)

    def _write_metrics(self, run_id: str, points: Sequence[MetricPoint]) -> None:
        metrics = self._run(run_id).metrics
        for name, value, step in points:
            metrics.setdefault(name, []).append((step, value))

    def _write_file(self, run_id: str, text: str, file: str) -> None:
        self._run(run_id).files[file] = text

    def _write_dataset(self, run_id: str, record: GoldenRecord) -> None:
        facts = record.model_dump(include={"name", "digest", "context", "source"}) | {"cases": len(record.cases)}
        datasets = self._run(run_id).datasets
        if facts not in datasets:
            datasets.append(facts)

    def _write_prompt(self, run_id: str, name: str, messages: list[dict[str, str]], tags: Mapping[str, str]) -> str:
        run = self._run(run_id)
        versions = self.store.prompts.setdefault(name, [])
        contents = [version.tags[CONTENT_TAG] for version in versions]
        if tags[CONTENT_TAG] not in contents:
            versions.append(RecordedPrompt(messages=messages, tags=dict(tags)))
            contents.append(tags[CONTENT_TAG])
        uri = f"prompts:/{name}/{contents.index(tags[CONTENT_TAG]) + 1}"
        if uri not in run.prompts:
            run.prompts.append(uri)
        return uri
