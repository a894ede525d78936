"""The actors of a Ray engine: starting them, waiting for them, replacing them."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from promptopt.engines.base import EngineCard, JudgeEngine
from promptopt.engines.ray.cluster import RayEngineSettings, first_line, import_ray
from promptopt.errors import EngineError, UserError

_log = logging.getLogger(__name__)
_WHERE = "judge.ray"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A UserError on its way out of an actor; pickled as an exception it would lose its parts."""

    kind: type[UserError]
    message: str
    facts: Mapping[str, Any]

    @classmethod
    def of(cls, error: UserError) -> Refusal:
        return cls(type(error), str(error), dict(vars(error)))

    def error(self) -> UserError:
        """The error as it was raised."""
        error = self.kind.__new__(self.kind, self.message)
        vars(error).update(self.facts)
        return error


class _Host:
    """What runs in an actor: an engine, and nothing that knows of other actors."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._engine: JudgeEngine | None = None
        # Before torch is imported, which reads it once. The function that opens the engine comes later for that reason.
        os.environ["OMP_NUM_THREADS"] = str(threads)

    def open(self, open_engine: Callable[[], JudgeEngine]) -> EngineCard | Refusal:
        try:
            self._engine = open_engine()
        except UserError as error:
            return Refusal.of(error)
        if torch := sys.modules.get("torch"):
            torch.set_num_threads(self._threads)
        return self._engine.describe()

    def call(self, method: str, items: Sequence[Any]) -> Any:
        try:
            return getattr(self._engine, method)(items)
        except UserError as error:
            return Refusal.of(error)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()


@dataclass(slots=True)
class _Member:
    """One place among the actors.

    Attributes:
        handle: The actor.
        opening: The call that opens its engine, or None when it is open.
        deadline: Until when it must be open, on the monotonic clock.
        on_probation: Whether the engine gives up if this actor dies too.
    """

    handle: Any
    opening: Any
    deadline: float
    on_probation: bool


class Crew:
    """The actors of one engine.

    Args:
        open_engine: Opens the engine in an actor.
        settings: How many, and what each reserves.
        reserve: Whether the actors reserve their cores.

    Attributes:
        members: The actors, in fixed places.

    Raises:
        EngineError: The machine has fewer GPUs than the actors reserve.
    """

    def __init__(self, open_engine: Callable[[], JudgeEngine], settings: RayEngineSettings, reserve: bool) -> None:
        self._ray = import_ray()
        self._open_engine, self._settings = open_engine, settings
        self._card: EngineCard | None = None
        self._deaths = 0
        resources = self._ray.cluster_resources()
        actors, gpus = _layout(settings, resources)
        if not settings.address and actors * gpus > resources.get("GPU", 0):
            raise EngineError(
                f"{actors} Ray actors of {gpus:g} GPUs each need more GPUs than the {resources.get('GPU', 0):g} here",
                where=f"{_WHERE}.gpus_per_actor",
                remedy="reserve less, or start fewer actors",
            )
        self._host = self._ray.remote(_Host).options(num_cpus=settings.cpus_per_actor if reserve else 0, num_gpus=gpus)
        self.members = [self._start() for _ in range(actors)]

    @property
    def card(self) -> EngineCard:
        """The card of the engine behind; known once an actor is open."""
        if self._card is None:
            raise EngineError("no Ray actor has opened its engine", where=_WHERE)
        return self._card

    def is_open(self, actor: int) -> bool:
        """Whether the actor can be called."""
        return self.members[actor].opening is None

    def wait_until_open(self) -> None:
        """Waits for every actor's engine.

        Raises:
            EngineError: An engine cannot be opened, differs from the others, or takes too long.
        """
        while not all(map(self.is_open, range(len(self.members)))):
            self.wait([])

    def wait(self, calls: Sequence[Any]) -> list[Any]:
        """Waits until a call ends or an engine is open, for a second at most.

        Args:
            calls: Calls under way.

        Returns:
            Calls that have ended.

        Raises:
            EngineError: As for :meth:`wait_until_open`.
        """
        opening = {m.opening: i for i, m in enumerate(self.members) if m.opening is not None}
        done, _ = self._ray.wait([*calls, *opening], num_returns=1, timeout=1.0)
        for ref in done:
            if ref in opening:
                self._finish_opening(opening[ref])
        late = [m for m in self.members if m.opening is not None and m.deadline < time.monotonic()]
        if late:
            free = self._ray.available_resources()
            raise EngineError(
                f"{len(late)} of {len(self.members)} Ray actors were not ready within {self._settings.open_seconds:g} "
                f"s; the cluster has {free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs free",
                where=_WHERE,
                remedy="start fewer actors, or reserve less for each",
            )
        return [ref for ref in done if ref not in opening]

    def made_progress(self) -> None:
        """Notes that an actor returned a result."""
        self._deaths = 0
        for member in self.members:
            member.on_probation = False

    def replace(self, actor: int, cause: Exception) -> None:
        """Starts another actor in the place of a lost one.

        Args:
            actor: Its place.
            cause: What Ray said.

        Raises:
            EngineError: Too many were replaced in a row and nothing was computed.
        """
        lost = self.members[actor]
        self._ray.kill(lost.handle)  # one that Ray has only lost sight of must not keep its share of the machine
        self._deaths += 1
        if lost.on_probation:
            raise EngineError(
                f"{self._deaths} Ray actors died in a row and nothing was computed, the last of them on a harmless "
                f"text or while it opened its engine ({first_line(cause)})",
                where=_WHERE,
                remedy="look for the reason in Ray's logs; often the memory is too small for so many actors",
            )
        _log.warning("Ray actor %d died and is replaced: %s", actor, first_line(cause))
        self.members[actor] = self._start(on_probation=self._deaths >= self._settings.replacements)

    def close(self) -> None:
        """Closes the engines and ends the actors."""
        if not self._ray.is_initialized():
            return
        closing = [m.handle.close.remote() for m in self.members if m.opening is None]
        if closing:
            self._ray.wait(closing, num_returns=len(closing), timeout=5.0)
        for member in self.members:
            self._ray.kill(member.handle)

    def _start(self, on_probation: bool = False) -> _Member:
        handle = self._host.remote(self._settings.cpus_per_actor)
        deadline = time.monotonic() + self._settings.open_seconds
        return _Member(handle, handle.open.remote(self._open_engine), deadline, on_probation)

    def _finish_opening(self, actor: int) -> None:
        member = self.members[actor]
        try:
            card = self._ray.get(member.opening)
        except self._ray.exceptions.RayTaskError as failure:
            raise EngineError(
                f"a Ray actor could not open its engine ({type(failure.cause).__name__}: {failure.cause})",
                where=_WHERE,
                remedy="check that every node has the package, the model and what they need",
            ) from failure
        except self._ray.exceptions.RayError as cause:
            self.replace(actor, cause)
            return
        if isinstance(card, Refusal):
            raise card.error()
        self._card = self._card or card
        if card.fingerprint != self._card.fingerprint:
            raise EngineError(
                f"Ray actors host different judges: {_differences(self._card, card)}",
                where=_WHERE,
                remedy="give every node the same model files and the same kind of processor",
            )
        member.opening = None


def _layout(settings: RayEngineSettings, resources: Mapping[str, float]) -> tuple[int, float]:
    """Number of actors, and GPUs of each."""
    gpus = settings.gpus_per_actor
    if settings.actors:
        return settings.actors, gpus
    if resources.get("GPU"):
        return max(1, int(resources["GPU"] / (gpus or 1.0))), gpus or 1.0
    return max(1, int(resources.get("CPU", 1)) // settings.cpus_per_actor), gpus


def _differences(a: EngineCard, b: EngineCard) -> str:
    """The facts of two cards that their fingerprints cover and that differ."""
    ours, theirs = a.to_dict(), b.to_dict()
    names = [n for n in ours if ours[n] != theirs[n] and n not in {"device", "versions"}]
    return ", ".join(f"{n} {str(ours[n])[:24]!r} and {str(theirs[n])[:24]!r}" for n in names)
