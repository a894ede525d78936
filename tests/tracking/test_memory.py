"""The in-memory log keeps the contract."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from promptopt.testing.run_log import RunLogContract
from promptopt.tracking.base import RunLog
from promptopt.tracking.memory import MemoryRunLog, MemoryStore, RecordedPrompt, RecordedRun
from promptopt.tracking.null import NullRunLog


class _Store:
    def __init__(self) -> None:
        self._store = MemoryStore()

    def open(
        self,
        forbidden_texts: Mapping[str, str] | None = None,
        log_texts: bool = False,
        registered_prompts: bool = True,
    ) -> MemoryRunLog:
        return MemoryRunLog(self._store, forbidden_texts, log_texts, registered_prompts)

    def read(self, run_id: str) -> RecordedRun:
        return self._store.runs[run_id]

    def read_prompt(self, uri: str) -> RecordedPrompt:
        name, version = uri.removeprefix("prompts:/").split("/")
        return self._store.prompts[name][int(version) - 1]


class TestMemoryRunLog(RunLogContract):
    @pytest.fixture(autouse=True)
    def _fresh_store(self) -> None:
        self.store = _Store()


def test_logs_satisfy_the_protocol() -> None:
    assert isinstance(MemoryRunLog(), RunLog)
    assert isinstance(NullRunLog(), RunLog)


def test_the_null_log_takes_everything_and_keeps_nothing() -> None:
    log = NullRunLog()
    run_id = log.open_run("name", "key")
    assert log.log_metrics(run_id, {"a": 1.0}, 3) == 0
    assert log.logged_steps(run_id, "a") == set()
    assert log.url(run_id) is None
