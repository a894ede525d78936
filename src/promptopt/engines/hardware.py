"""What the machine can do: device and number format."""

from __future__ import annotations

import platform
from pathlib import Path

import torch

from promptopt.errors import EngineError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_DEVICES = "choose auto, cpu or cuda"
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def choose_device(wanted: str) -> torch.device:
    """The device to run on.

    Args:
        wanted: ``"auto"`` for CUDA where there is one, else CPU; or a torch device name.

    Raises:
        EngineError: The name is not known, or CUDA is asked for and there is none.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as cause:
        raise EngineError(
            f"unknown device {wanted!r}", where="judge.device", remedy="choose auto, cpu or cuda"
        ) from cause
    if device.type not in {"cpu", "cuda"}:
        raise EngineError(
            f"device {wanted!r} is not supported", where="judge.device", remedy="choose auto, cpu or cuda"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise EngineError(
            f"device {wanted!r} was asked for and this machine has {torch.cuda.device_count()} CUDA devices",
            where="judge.device",
            remedy="set judge.device=auto",
        )
    return device


def choose_dtype(wanted: str, device: torch.device) -> torch.dtype:
    """The number format to run in.

    Args:
        wanted: ``"auto"`` or a name in :data:`DTYPES`. Auto is bfloat16 on CUDA and on processors that multiply
            bfloat16 natively, else float32: emulated bfloat16 is several times slower.

    Raises:
        EngineError: The name is not known.
    """
    if wanted == "auto":
        native = device.type == "cuda" or cpu_has_bfloat16()
        return torch.bfloat16 if native else torch.float32
    if wanted not in DTYPES:
        raise EngineError(f"unknown dtype {wanted!r}", where="judge.dtype", remedy=f"choose auto, {', '.join(DTYPES)}")
    return DTYPES[wanted]


def cpu_has_bfloat16() -> bool:
    """True when the processor multiplies bfloat16 natively (AVX512-BF16, AMX or Arm BF16), as Linux reports it."""
    info = Path("/proc/cpuinfo")
    if platform.system() != "Linux" or not info.is_file():
        return False
    for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.lower().startswith(("flags", "features")):
            return bool(_BF16_FLAGS & set(line.split(":", 1)[1].split()))
    return False
