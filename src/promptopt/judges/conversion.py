"""Turns a GGUF file into a folder of safetensors, once, in a process of its own.

``python -m promptopt.judges.conversion GGUF FOLDER``. De-quantising takes a gigabyte of memory and writes progress
bars to the error stream; in a process of its own both go away with it.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path


def convert(gguf: Path, folder: Path) -> None:
    """De-quantises a GGUF file to bfloat16 safetensors with its tokenizer and chat template.

    The same file gives the same weights, byte for byte: they are written in one order with fixed metadata.

    Args:
        gguf: The file.
        folder: Where to write; made when missing.

    Raises:
        ValueError: The architecture is not one that transformers reads from GGUF.
    """
    import gguf as gguf_package
    import torch
    from safetensors.torch import save_file
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    # Configuration, weights and tokenizer would each parse the file's header anew: a third of the whole time.
    gguf_package.GGUFReader = functools.lru_cache(maxsize=1)(gguf_package.GGUFReader)
    source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name, "trust_remote_code": False}
    quantised = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    state = quantised.state_dict()
    plain = quantised.config.to_dict()
    for key in ("quantization_config", "_name_or_path"):
        plain.pop(key, None)
    config = AutoConfig.for_model(**plain)
    config.dtype = torch.bfloat16
    config.architectures = [type(quantised).__name__]
    # A fresh model from the plain configuration proves that the tensors are complete before they are saved.
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(state, strict=True, assign=True)
    if config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: state[name].to(torch.bfloat16).contiguous() for name in sorted(state)}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)
    config.save_pretrained(folder)
    AutoTokenizer.from_pretrained(**source).save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
