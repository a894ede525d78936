"""Peak memory while something runs."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch

_MIB = 1 << 20
_INTERVAL_SECONDS = 0.02


class PeakMemory:
    """Measures the peak of what is resident, in MiB, between entering and leaving.

    On CUDA it is the allocator's peak on the device. On a CPU it is the resident memory of this process and of the
    processes named, sampled fifty times a second; None where psutil is not installed.

    Args:
        device: Where the model is.
        processes: Ids of further processes that take part.
    """

    def __init__(self, device: torch.device, processes: Sequence[int] = ()) -> None:
        self._device = device
        self._processes = tuple(processes)
        self._peak = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.mib: float | None = None

    def __enter__(self) -> PeakMemory:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        elif watched := _open(self._processes):
            self._thread = threading.Thread(target=self._watch, args=(watched,), daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            self.mib = torch.cuda.max_memory_allocated(self._device) / _MIB
        elif self._thread:
            self._stop.set()
            self._thread.join()
            self.mib = self._peak / _MIB

    def _watch(self, watched: list[Any]) -> None:
        import psutil

        while True:
            resident = 0
            for process in watched:
                with suppress(psutil.Error):  # a process that has ended holds nothing
                    resident += process.memory_info().rss
            self._peak = max(self._peak, resident)
            if self._stop.wait(_INTERVAL_SECONDS):
                return


def _open(processes: Sequence[int]) -> list[Any]:
    try:
        import psutil
    except ImportError:
        return []
    watched = [psutil.Process()]
    for number in processes:
        with suppress(psutil.Error):
            watched.append(psutil.Process(number))
    return watched
