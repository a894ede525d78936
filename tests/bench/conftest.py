from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from promptopt.bench.workload import Cell, Workload, context_of, make_workload
from promptopt.engines.loading import LoadedModel, load_model
from promptopt.testing.tiny_model import save_tiny_model


@pytest.fixture(autouse=True, scope="package")
def _one_thread() -> Iterator[None]:
    """Tiny models gain nothing from threads, and threads that wait for busy cores cost seconds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama that reads 1,024 tokens."""
    return save_tiny_model(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def load(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., LoadedModel]:
    """Opens a tiny model of an architecture, in float32."""

    def open_tiny(kind: str) -> LoadedModel:
        folder = save_tiny_model(tmp_path_factory.mktemp("models") / kind, kind)
        return load_model(str(folder), revision="", device=torch.device("cpu"), dtype=torch.float32)

    return open_tiny


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> LoadedModel:
    return load_model(str(tiny_folder), revision="", device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture(scope="session")
def work_of() -> Callable[..., Workload]:
    """A workload for a model."""

    def make(loaded: LoadedModel, prefix: int = 128, item: int = 12, variants: int = 1, cases: int = 96) -> Workload:
        return make_workload(loaded.tokenizer, Cell(prefix, item, variants), cases, context_of(loaded.model))

    return make
