"""Loads a causal language model from a hub id or a folder: safetensors only, no remote code."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from promptopt.engines.folders import cache_folder
from promptopt.errors import EngineError

_LIST = "run `promptopt models list` for models that are ready here"


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


def load_model(
    source: str, *, revision: str, device: torch.device, dtype: torch.dtype, quantization: str = ""
) -> LoadedModel:
    """Loads model and tokenizer.

    Args:
        source: A folder, or a hub id.
        revision: Hub revision; empty for the default branch.
        device: Where the model runs.
        dtype: Format of weights and activations.
        quantization: ``bitsandbytes-8bit``, ``bitsandbytes-4bit``, ``torchao-int8``, or an empty string.

    Raises:
        EngineError: There is no such folder or hub model, it has no safetensors weights, or its tokenizer and its
            output head disagree on the vocabulary.
    """
    if not source:
        raise EngineError("no model is named", where="judge.model", remedy=_LIST)
    folder = Path(source).expanduser()
    if folder.is_dir():
        name, revision = folder.resolve().name, ""
    else:
        folder, name = _fetch(source, revision), source
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        raise EngineError(
            "the model folder holds no .safetensors file",
            where=folder,
            remedy="convert the weights to safetensors; other formats can run code and are not loaded",
        )
    try:
        model, tokenizer = _load(folder, device, dtype, quantization)
    except EngineError:
        raise
    except Exception as cause:
        reason = " ".join(str(cause).split())[:200] or type(cause).__name__
        raise EngineError(
            f"the model could not be loaded ({reason})", where=folder, remedy="check the folder"
        ) from cause
    return LoadedModel(model, tokenizer, name, revision, _digest(weights))


def _fetch(source: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise EngineError("no such model folder", where=source, remedy=f"check judge.model, or {_LIST}")
    try:
        patterns = ["*.safetensors", "*.json", "*.jinja", "*.model", "*.txt"]
        return Path(snapshot_download(source, revision=revision or None, allow_patterns=patterns))
    except HFValidationError as cause:
        raise EngineError(f"{source!r} is neither a folder nor a hub id", where="judge.model") from cause
    except Exception as cause:
        raise EngineError(
            f"model {source!r} could not be fetched from the hub ({type(cause).__name__})",
            where="judge.model",
            remedy=f"check the id and the network, give a folder, or {_LIST}",
        ) from cause


def _load(folder: Path, device: torch.device, dtype: torch.dtype, quantization: str) -> tuple[Any, Any]:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    # The report of unused and missing tensors: `_check` reads it, and nobody else needs to.
    logging.get_logger("transformers.modeling_utils").addFilter(lambda record: "LOAD REPORT" not in record.getMessage())
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    options: dict[str, Any] = {}
    quantized = bool(getattr(config, "quantization_config", None))
    if quantization:
        if quantized:
            raise EngineError(
                f"the weights are quantised already, found {quantization!r} asked for besides",
                where="judge.quantization",
                remedy="leave judge.quantization empty",
            )
        options["quantization_config"] = quantization_config(quantization)
        quantized = True
    if quantized and (quantization or device.type == "cuda"):
        options["device_map"] = {"": device}  # quantised weights are packed for the device while they are read
    text = config.get_text_config()
    if getattr(text, "attention_chunk_size", 0) is None:
        # Llama Guard 4 names no chunk size and transformers insists on one: a chunk as long as the context is none.
        text.attention_chunk_size = text.max_position_embeddings
    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    model, report = AutoModelForCausalLM.from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        trust_remote_code=False,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        **options,
    )
    _check(folder, model, tokenizer, sorted(report["missing_keys"]))
    if not options.get("device_map"):
        model = model.to(device)
    return model.eval().requires_grad_(False), tokenizer


def quantization_config(name: str) -> Any:
    """The library's own configuration for weights that are quantised while they are loaded.

    Args:
        name: ``bitsandbytes-8bit``, ``bitsandbytes-4bit`` or ``torchao-int8``.

    Raises:
        EngineError: The name is not known, or the library is not installed.
    """
    known = ("bitsandbytes-8bit", "bitsandbytes-4bit", "torchao-int8")
    if name not in known:
        raise EngineError(
            f"unknown quantisation {name!r}", where="judge.quantization", remedy=f"choose {', '.join(known)}"
        )
    library = name.split("-")[0]
    if find_spec(library) is None:
        raise EngineError(
            f"quantisation {name!r} needs the package {library}, which is not installed",
            where="judge.quantization",
            remedy=f"run `pip install {library}`, or leave judge.quantization empty",
        )
    from transformers import BitsAndBytesConfig, TorchAoConfig

    if name == "bitsandbytes-8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    if name == "bitsandbytes-4bit":
        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)
    from torchao.quantization import Int8WeightOnlyConfig

    # The head stays as it is: only its label rows are ever multiplied.
    return TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=["lm_head"])


def compile_blocks(model: Any) -> None:
    """Compiles feed-forward blocks and norms in place; attention, whose plan changes from pass to pass, stays."""
    for module in model.modules():
        if type(module).__name__.endswith(("MLP", "RMSNorm")):
            module.compile(dynamic=True)


def _check(folder: Path, model: Any, tokenizer: Any, missing: list[str]) -> None:
    """Refuses models that transformers would complete with random weights, and tokenizers of another model."""
    if missing:
        raise EngineError(
            f"the weight files lack {len(missing)} of the model's tensors, such as {missing[0]!r}",
            where=folder,
            remedy="download the model again",
        )
    rows = model.get_output_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise EngineError(
            f"the tokenizer has {len(tokenizer)} tokens and the output head {rows} rows",
            where=folder,
            remedy="use the tokenizer that belongs to the model",
        )


def _digest(weights: list[Path]) -> str:
    """SHA-256 over the files' SHA-256, remembered beside the user's cache by size and time of change."""
    memory = _cache_file()
    known: dict[str, str] = {}
    if memory.is_file():
        try:
            known = dict(json.loads(memory.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
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
