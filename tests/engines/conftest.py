from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from promptopt.engines.local import LocalEngine, LocalEngineSettings
from promptopt.testing.tiny_model import save_tiny_model


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    """Tiny models gain nothing from threads, and threads that wait for busy cores cost seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMPTOPT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with grouped-query attention."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture
def make_engine(llama_folder: Path) -> Callable[..., LocalEngine]:
    """Opens an engine on the tiny Llama, with other settings."""

    def make(**changes: Any) -> LocalEngine:
        settings = LocalEngineSettings(str(llama_folder), device="cpu", dtype="float32", **changes)
        return LocalEngine(settings)

    return make
