"""What the machine can do: device and number format."""

from __future__ import annotations

import platform
import time
from pathlib import Path
from types import TracebackType
from typing import Any

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


def choose_batch_tokens(wanted: int, config: Any, device: torch.device, dtype: torch.dtype) -> int:
    """Tokens per forward pass.

    Args:
        wanted: What the user asked for; 0 chooses.
        config: The model's text configuration.
        device: Where it runs.
        dtype: Format of its activations.

    Returns:
        On a processor 512, beyond which activations leave its caches and nothing is won; on CUDA what half of the free
        memory holds, between 1,024 and 32,768.
    """
    if wanted:
        return wanted
    if device.type != "cuda":
        return 512
    free, _ = torch.cuda.mem_get_info(device)
    inner = getattr(config, "intermediate_size", 0) or 4 * config.hidden_size
    # Per token: residual, norms and projections, the feed-forward block, and float32 scores within rows of 512 tokens.
    activations = (10 * config.hidden_size + 3 * inner) * torch.finfo(dtype).bits // 8
    per_token = activations + 2 * 4 * 512 * config.num_attention_heads
    return max(1024, min(32768, int(free / 2 / per_token)))


def to_device(values: Any, device: torch.device) -> torch.Tensor:
    """A tensor of numbers on the device; on CUDA through pinned memory, so that nobody waits for the copy."""
    tensor = values if isinstance(values, torch.Tensor) else torch.tensor(values)
    if device.type != "cuda":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


class Stopwatch:
    """Adds up time spent on a device, without making it wait until somebody asks.

    Args:
        device: On CUDA time is taken by events on the current stream, elsewhere by the clock.
    """

    def __init__(self, device: torch.device) -> None:
        self._on_cuda = device.type == "cuda"
        self._seconds = 0.0
        self._began = 0.0
        self._pairs: list[tuple[Any, Any]] = []

    def __enter__(self) -> Stopwatch:
        if self._on_cuda:
            self._pairs.append((_event(), _event()))
            self._pairs[-1][0].record()
        else:
            self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._on_cuda:
            self._seconds += time.perf_counter() - self._began
        elif kind is None:
            self._pairs[-1][1].record()
        else:
            self._pairs.pop()

    @property
    def seconds(self) -> float:
        """Seconds so far; waits for the device."""
        if self._pairs:
            self._pairs[-1][1].synchronize()
            self._seconds += sum(first.elapsed_time(last) for first, last in self._pairs) / 1000
            self._pairs = []
        return self._seconds


def _event() -> Any:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
