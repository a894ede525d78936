"""Loads a causal language model from a hub id or a folder: safetensors only, no remote code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from promptopt.errors import EngineError


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model ready to run.

    Attributes:
        model: The causal language model, in evaluation mode on its device.
        tokenizer: Its fast tokenizer.
        name: Hub id, or the folder's name.
        revision: Hub revision, or an empty string.
        weights_digest: SHA-256 over the weight files' digests.
    """

    model: Any
    tokenizer: Any
    name: str
    revision: str
    weights_digest: str


def load_model(source: str, *, revision: str, device: torch.device, dtype: torch.dtype) -> LoadedModel:
    """Loads model and tokenizer.

    Args:
        source: A folder, or a hub id.
        revision: Hub revision; empty for the default branch.
        device: Where the model runs.
        dtype: Format of weights and activations.

    Raises:
        EngineError: There is no such folder or hub model, it has no safetensors weights, or its tokenizer and its
            output head disagree on the vocabulary.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        name, revision = folder.name, ""
    else:
        folder, name = _fetch(source, revision), source
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise EngineError(
            "the model folder holds no .safetensors file",
            where=folder,
            remedy="convert the weights to safetensors; other formats can run code and are not loaded",
        )
    model, tokenizer = _load(folder, device, dtype)
    return LoadedModel(model, tokenizer, name, revision, _digest(weights))


def _fetch(source: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise EngineError("no such model folder", where=source, remedy="check judge.model, or run `promptopt models list`")
    try:
        patterns = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
        return Path(snapshot_download(source, revision=revision or None, allow_patterns=patterns))
    except HFValidationError as cause:
        raise EngineError(f"{source!r} is neither a folder nor a hub id", where="judge.model") from cause
    except Exception as cause:
        raise EngineError(
            f"model {source!r} could not be fetched from the hub ({type(cause).__name__})",
            where="judge.model",
            remedy="check the id and the network, run `promptopt models list` for models that are ready here, or give a folder",
        ) from cause


def _load(folder: Path, device: torch.device, dtype: torch.dtype) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, trust_remote_code=False, use_safetensors=True, local_files_only=True
        )
    except (OSError, ValueError, KeyError) as cause:
        reason = " ".join(str(cause).split())[:200]
        raise EngineError(f"the model could not be loaded ({reason})", where=folder, remedy="check the folder") from cause
    rows = model.get_output_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise EngineError(
            f"the tokenizer has {len(tokenizer)} tokens and the output head {rows} rows",
            where=folder,
            remedy="use the tokenizer that belongs to the model",
        )
    return model.to(device).eval().requires_grad_(False), tokenizer


def _digest(weights: list[Path]) -> str:
    """SHA-256 over the files' SHA-256, remembered beside the user's cache by size and time of change."""
    memory = _cache_file()
    known: dict[str, str] = {}
    if memory.is_file():
        try:
            known = json.loads(memory.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}  # a damaged memory costs one hashing, nothing else
    digests = []
    for path in weights:
        stat = path.stat()
        key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
        if key not in known:
            with path.open("rb") as stream:
                known[key] = hashlib.file_digest(stream, "sha256").hexdigest()
        digests.append(known[key])
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(known), encoding="utf-8")
    except OSError:
        pass  # a read-only home only loses the memory
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _cache_file() -> Path:
    return cache_folder() / "weights.json"


def cache_folder() -> Path:
    """The user's cache directory: ``$PROMPTOPT_CACHE``, else the platform's usual place."""
    import os
    import sys

    if configured := os.environ.get("PROMPTOPT_CACHE"):
        return Path(configured).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "promptopt"
    base = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "promptopt"
