"""The log for runs that nobody tracks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from promptopt.core.prompt import LoweredPrompt
from promptopt.tracking.base import Figure, GoldenRecord, RunStatus, Scalar


class NullRunLog:
    """Keeps nothing and checks nothing; a run's id is its key."""

    @property
    def log_texts(self) -> bool:
        return False

    def open_run(self, name: str, key: str, parent: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        return key

    def log_params(self, run_id: str, params: Mapping[str, Scalar]) -> None:
        return

    def log_metrics(self, run_id: str, metrics: Mapping[str, float], step: int | None = None) -> int:
        return 0

    def log_metric_history(self, run_id: str, steps: Mapping[int, Mapping[str, float]]) -> int:
        return 0

    def logged_steps(self, run_id: str, metric: str) -> set[int]:
        return set()

    def log_dict(self, run_id: str, data: Mapping[str, Any], file: str) -> None:
        return

    def log_text(self, run_id: str, text: str, file: str) -> None:
        return

    def log_table(self, run_id: str, rows: Sequence[Mapping[str, Any]], file: str) -> None:
        return

    def log_figure(self, run_id: str, figure: Figure, file: str) -> None:
        return

    def log_dataset(self, run_id: str, record: GoldenRecord) -> None:
        return

    def register_prompt(
        self, run_id: str, name: str, prompt: LoweredPrompt, tags: Mapping[str, str] | None = None
    ) -> str | None:
        return None

    def finish(self, run_id: str, status: RunStatus = "finished") -> None:
        return

    def url(self, run_id: str) -> str | None:
        return None
