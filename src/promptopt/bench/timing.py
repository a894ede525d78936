"""What a method is given to be timed with, and what comes out of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TimingOptions:
    """How long and in what portions to time.

    Attributes:
        seconds: Time for each figure of each method; the portion that is under way when it is over is finished.
        batch: Sequences per padded batch.
        batch_tokens: Tokens per forward pass of the engine; 0 leaves it to the engine.
        prefix_cache_mib: Memory for the engine's shared prefixes, in MiB.
    """

    seconds: float = 20.0
    batch: int = 16
    batch_tokens: int = 0
    prefix_cache_mib: int = 4096


@dataclass(frozen=True, slots=True)
class Timing:
    """What was measured of one method on one workload.

    Attributes:
        cases: Judgements timed, their prefixes included.
        rate: Judgements per second, the prefixes counted.
        marginal_rate: Judgements per second once the prefixes are there; None for methods that know no such state.
        tokens_computed: Tokens that went through the model for ``cases``; None where that is not known.
        cpu_ms: Processor milliseconds of this process per judgement.
        memory_mib: Peak memory, or None.
        overhead: Share of the wall time outside the model's forward pass; None where that is not known.
        probabilities: Probability of the first label by number of the judgement.
        verdicts: Number of the label chosen by number of the judgement.
        failures: Judgements without an answer.
        threads: Client threads, for peers that have some.
    """

    cases: int
    rate: float
    marginal_rate: float | None = None
    tokens_computed: int | None = None
    cpu_ms: float | None = None
    memory_mib: float | None = None
    overhead: float | None = None
    probabilities: Mapping[int, float] = field(default_factory=dict)
    verdicts: Mapping[int, int] = field(default_factory=dict)
    failures: int = 0
    threads: int | None = None


def best_of(rounds: Sequence[Timing]) -> Timing:
    """One method's rounds as one timing: the fastest, as other work on the machine only ever slows a round down."""
    fastest = max(rounds, key=lambda timing: timing.rate)
    return replace(
        fastest,
        marginal_rate=max((t.marginal_rate for t in rounds if t.marginal_rate is not None), default=None),
        overhead=min((t.overhead for t in rounds if t.overhead is not None), default=None),
        cpu_ms=min((t.cpu_ms for t in rounds if t.cpu_ms is not None), default=None),
        memory_mib=max((t.memory_mib for t in rounds if t.memory_mib is not None), default=None),
    )


class Clock:
    """Wall and processor time since it was made, and whether a budget is spent."""

    def __init__(self, seconds: float) -> None:
        self._budget = seconds
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._wall

    @property
    def cpu_ms(self) -> float:
        return 1000 * (time.process_time() - self._cpu)

    @property
    def over(self) -> bool:
        return self.seconds >= self._budget


class Stopwatch:
    """Adds up the time of some calls."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds = 0.0

    def time(self, call: Callable[[], T]) -> T:
        """Calls, and waits for the device."""
        began = time.perf_counter()
        found = call()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.seconds += time.perf_counter() - began
        return found


def exact_timing(found: dict[int, float], seconds: float, tokens: int, cpu_ms: float, memory: float | None) -> Timing:
    """The timing of a method that computes probabilities, from what it found in so many seconds."""
    return Timing(
        cases=len(found),
        rate=len(found) / seconds,
        tokens_computed=tokens,
        cpu_ms=cpu_ms / len(found),
        memory_mib=memory,
        probabilities=found,
        verdicts={number: int(probability < 0.5) for number, probability in found.items()},
    )


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Lets torch compute with so many threads for a while; 0 leaves its choice."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
