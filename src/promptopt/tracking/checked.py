"""What all run logs do alike: checks, the privacy rule and the shapes of files; a store only keeps what passes."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from promptopt.core.digest import digest_data
from promptopt.core.prompt import LoweredPrompt
from promptopt.tracking.base import KEY_TAG, Figure, GoldenRecord, RunStatus, Scalar, TrackingError
from promptopt.tracking.redaction import CaseTexts
from promptopt.tracking.template import chat_template, check_prompt_name, prompt_name

MAX_PARAM_CHARACTERS = 6_000
MAX_TAG_CHARACTERS = 8_000
MAX_TEMPLATE_CHARACTERS = 100_000
MAX_NAME_CHARACTERS = 250

CONTENT_TAG = "promptopt.content"
LABELS_TAG = "promptopt.labels"

MetricPoint = tuple[str, float, int]

_KEY = re.compile(r"[\w.:/-]+", re.ASCII)
_NAME = re.compile(r"[\w.:/ -]+", re.ASCII)


class CheckedRunLog(ABC):
    """The base of logs that keep what they are given.

    Args:
        forbidden_texts: Case id to text of the golden cases; nothing written may contain one.
        log_texts: Lifts the ban and writes the texts of logged golden sets.
        registered_prompts: False keeps prompts as files of their runs.
    """

    def __init__(
        self,
        forbidden_texts: Mapping[str, str] | None = None,
        log_texts: bool = False,
        registered_prompts: bool = True,
    ) -> None:
        self._log_texts = log_texts
        self._registered_prompts = registered_prompts
        self._forbidden = CaseTexts({} if log_texts else forbidden_texts or {})

    @property
    def log_texts(self) -> bool:
        return self._log_texts

    def open_run(self, name: str, key: str, parent: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        if not _KEY.fullmatch(key):
            raise TrackingError(f"run key {key!r} has characters other than letters, digits and _ . : / -")
        all_tags = {**(tags or {}), KEY_TAG: key}
        self._check_tags(all_tags, "a run's tags")
        self._check_text(name, "a run's name")
        run_id = self._find_run(key)
        if run_id is None:
            return self._create_run(name, parent, all_tags)
        self._reopen_run(run_id, all_tags)
        return run_id

    def log_params(self, run_id: str, params: Mapping[str, Scalar]) -> None:
        texts = {name: str(value) for name, value in params.items()}
        for name, text in texts.items():
            _check_name(name)
            if len(text) > MAX_PARAM_CHARACTERS:
                raise TrackingError(
                    f"parameter {name!r} has {len(text)} characters, more than {MAX_PARAM_CHARACTERS}: log it as a file"
                )
            self._check_text(text, f"parameter {name!r}")
        known = self._params(run_id)
        changed = [name for name, text in texts.items() if known.get(name, text) != text]
        if changed:
            raise TrackingError(f"parameter {changed[0]!r} of run {run_id} already has another value")
        new = {name: text for name, text in texts.items() if name not in known}
        if new:
            self._write_params(run_id, new)

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int | None = None) -> int:
        if step is not None:
            return self.log_metric_history(run_id, {step: metrics})
        known = self._latest_metrics(run_id)
        changed = {name: value for name, value in metrics.items() if known.get(name) != value}
        return self.log_metric_history(run_id, {0: changed})

    def log_metric_history(self, run_id: str, steps: Mapping[int, Mapping[str, float]]) -> int:
        points = [(name, float(value), step) for step, values in steps.items() for name, value in values.items()]
        for name in {name for name, _, _ in points}:
            _check_name(name)
        finite = [point for point in points if math.isfinite(point[1])]
        if finite:
            self._write_metrics(run_id, finite)
        return len(points) - len(finite)

    def log_dict(self, run_id: str, data: Mapping[str, Any], file: str) -> None:
        _check_suffix(file, ".json")
        self._write_checked(run_id, _json_text(data), file)

    def log_text(self, run_id: str, text: str, file: str) -> None:
        self._write_checked(run_id, text, file)

    def log_table(self, run_id: str, rows: Sequence[Mapping[str, Any]], file: str) -> None:
        _check_suffix(file, ".csv", ".json")
        text = _csv_text(rows) if file.endswith(".csv") else _json_text(list(rows))
        self._write_checked(run_id, text, file)

    def log_figure(self, run_id: str, figure: Figure, file: str) -> None:
        _check_suffix(file, ".html")
        _check_file(file)
        self._check_text(str(figure.to_json()), f"figure {file!r}")
        self._write_file(run_id, str(figure.to_html(include_plotlyjs=True, full_html=True)), file)

    def log_dataset(self, run_id: str, record: GoldenRecord) -> None:
        for text in (record.name, record.context, record.source):
            self._check_text(text, f"golden set {record.name!r}")
        fields = ["id", "label", "clause", "severity", "language", "split", "kind", "group", "pair"]
        fields += ["text"] if self.log_texts else []
        rows = [case.model_dump(mode="json", include=set(fields)) for case in record.cases]
        file = f"golden/{prompt_name(record.name, record.context)}.csv"
        self.log_table(run_id, [{field: row[field] for field in fields} for row in rows], file)
        self._write_dataset(run_id, record)

    def register_prompt(
        self, run_id: str, name: str, prompt: LoweredPrompt, tags: Mapping[str, str] | None = None
    ) -> str | None:
        check_prompt_name(name)
        messages = chat_template(prompt)
        labels = list(prompt.labels)
        content = {"messages": messages, "labels": labels}
        text = _json_text(content)
        self._check_text(text, f"prompt {name!r}")
        if not self._registered_prompts:
            self._write_file(run_id, _json_text({**content, "tags": dict(tags or {})}), f"prompts/{name}.json")
            return None
        if len(json.dumps(messages)) > MAX_TEMPLATE_CHARACTERS:
            raise TrackingError(
                f"prompt {name!r} has more than {MAX_TEMPLATE_CHARACTERS} characters: set registered_prompts to false"
            )
        all_tags = {**(tags or {}), CONTENT_TAG: digest_data(content), LABELS_TAG: json.dumps(labels)}
        self._check_tags(all_tags, f"the tags of prompt {name!r}")
        return self._write_prompt(run_id, name, messages, all_tags)

    def url(self, run_id: str) -> str | None:
        return None

    @abstractmethod
    def logged_steps(self, run_id: str, metric: str) -> set[int]: ...

    @abstractmethod
    def finish(self, run_id: str, status: RunStatus = "finished") -> None: ...

    @abstractmethod
    def _find_run(self, key: str) -> str | None: ...

    @abstractmethod
    def _create_run(self, name: str, parent: str | None, tags: Mapping[str, str]) -> str: ...

    @abstractmethod
    def _reopen_run(self, run_id: str, tags: Mapping[str, str]) -> None: ...

    @abstractmethod
    def _params(self, run_id: str) -> Mapping[str, str]: ...

    @abstractmethod
    def _latest_metrics(self, run_id: str) -> Mapping[str, float]: ...

    @abstractmethod
    def _write_params(self, run_id: str, params: Mapping[str, str]) -> None: ...

    @abstractmethod
    def _write_metrics(self, run_id: str, points: Sequence[MetricPoint]) -> None: ...

    @abstractmethod
    def _write_file(self, run_id: str, text: str, file: str) -> None: ...

    @abstractmethod
    def _write_dataset(self, run_id: str, record: GoldenRecord) -> None: ...

    @abstractmethod
    def _write_prompt(self, run_id: str, name: str, messages: list[dict[str, str]], tags: Mapping[str, str]) -> str: ...

    def _write_checked(self, run_id: str, text: str, file: str) -> None:
        _check_file(file)
        self._check_text(text, f"file {file!r}")
        self._write_file(run_id, text, file)

    def _check_tags(self, tags: Mapping[str, str], place: str) -> None:
        for name, value in tags.items():
            _check_name(name)
            if len(value) > MAX_TAG_CHARACTERS:
                raise TrackingError(f"{place}: {name!r} has {len(value)} characters, more than {MAX_TAG_CHARACTERS}")
            self._check_text(value, f"{place}: {name!r}")

    def _check_text(self, text: str, place: str) -> None:
        case_id = self._forbidden.find(text)
        if case_id is not None:
            raise TrackingError(
                f"{place} contains the text of case {case_id!r}: redact it, or set tracking.log_texts to true"
            )


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARACTERS:
        raise TrackingError(f"name {name!r} is not 1 to {MAX_NAME_CHARACTERS} letters, digits, spaces and _ . : / -")


def _check_file(file: str) -> None:
    path = PurePosixPath(file)
    if not file or path.is_absolute() or ".." in path.parts or "\\" in file or str(path) != file:
        raise TrackingError(f"file {file!r} is not a plain relative path")


def _check_suffix(file: str, *suffixes: str) -> None:
    if not file.endswith(suffixes):
        raise TrackingError(f"file {file!r} does not end in {' or '.join(suffixes)}")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _json_text(data: Any) -> str:
    return json.dumps(_finite(data), ensure_ascii=False, indent=2, allow_nan=False)


def _csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(dict.fromkeys(name for row in rows for name in row)))
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
