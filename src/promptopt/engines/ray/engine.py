"""The Ray engine: actors that each host an engine of their own, on one machine or on many.

The same prompt goes to the same actor, so that what its engine has computed of it is used again; idle actors take work
over (see :mod:`promptopt.engines.ray.blocks`). An actor that dies is replaced and what it had not handed back is
computed again. A result is taken once or not at all.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np

from promptopt.engines.base import (
    EngineCard,
    Generation,
    GenerationRequest,
    JudgeEngine,
    LabelQuery,
    LabelScores,
    TokenCount,
    Usage,
)
from promptopt.engines.ray.blocks import Block, Homes, Queues, cut_blocks, even_blocks
from promptopt.engines.ray.cluster import RayEngineSettings, enter_cluster, import_ray, leave_cluster
from promptopt.engines.ray.crew import Crew, Refusal
from promptopt.errors import EngineError

__all__ = ["RayEngine", "RayEngineSettings"]
_DIED = "the actor died on this text"
_Item = LabelQuery | GenerationRequest


class RayEngine:
    """Spreads queries over actors; see :class:`promptopt.engines.base.JudgeEngine`.

    How a call is cut depends on the queries and on the number of actors alone, so the numbers are the same from run to
    run and when an actor dies, except next to a text that kills actors: the texts around it are then computed in
    smaller batches. Calls from several threads wait for each other.

    Args:
        open_engine: Opens the engine in an actor. Travels there pickled, so a module's function or a
            :func:`functools.partial` of one; every node needs the package and what the engine needs.
        settings: How many actors, and what each reserves.

    Raises:
        EngineError: Ray is not installed, the cluster cannot be reached, the actors do not start, die while they open
            their engines, or host engines with different fingerprints.
        UserError: What ``open_engine`` raised in an actor.
    """

    def __init__(self, open_engine: Callable[[], JudgeEngine], settings: RayEngineSettings) -> None:
        self._lock = Lock()
        self._crew: Crew | None = None
        shared = enter_cluster(settings)
        try:
            self._crew = Crew(open_engine, settings, reserve=shared)
            self._homes = Homes(len(self._crew.members))
            self._crew.wait_until_open()
        except BaseException:
            self._release()
            raise

    @property
    def actors(self) -> list[Any]:
        """Handles of the actors, for inspection; a replaced actor's handle changes."""
        return [member.handle for member in self._open_crew.members]

    def score(self, queries: Sequence[LabelQuery]) -> LabelScores:
        with self._lock:
            began = time.perf_counter()
            sheet = _Sheet(queries)
            blocks = cut_blocks([q.segments for q in queries], len(self._open_crew.members))
            _Call(self._open_crew, self._homes, "score", queries, sheet.take).run(blocks)
            return sheet.finish(time.perf_counter() - began)

    def count_tokens(self, queries: Sequence[LabelQuery]) -> TokenCount:
        """Counted by one actor, since what the queries share is counted once."""
        with self._lock:
            counts = [TokenCount(0, 0)]
            blocks = [Block((tuple(range(len(queries))),), 0, 0, 0)] if queries else []
            take = _Call(self._open_crew, self._homes, "count_tokens", queries, lambda _, found: counts.append(found))
            take.run(blocks)
            return counts[-1]

    def generate(self, requests: Sequence[GenerationRequest]) -> list[Generation]:
        with self._lock:
            out = [Generation("", 0, "failed", _DIED)] * len(requests)

            def take(block: Block, written: list[Generation] | None) -> None:
                for row, generation in zip(block.rows, written or (), strict=written is not None):
                    out[row] = generation

            blocks = even_blocks([r.segments for r in requests], len(self._open_crew.members))
            _Call(self._open_crew, self._homes, "generate", requests, take).run(blocks)
            return out

    def describe(self) -> EngineCard:
        return self._open_crew.card

    def close(self) -> None:
        """Ends the actors, and the cluster where this process started it and no other engine uses it."""
        with self._lock:
            if self._crew is not None:
                self._release()

    def _release(self) -> None:
        crew, self._crew = self._crew, None
        try:
            if crew is not None:
                crew.close()
        finally:
            leave_cluster()

    @property
    def _open_crew(self) -> Crew:
        if self._crew is None:
            raise EngineError("the Ray engine is closed")
        return self._crew


class _Sheet:
    """Scores of one call, filled in block by block."""

    def __init__(self, queries: Sequence[LabelQuery]) -> None:
        width = max((len(q.labels) for q in queries), default=0)
        self._logprobs = np.full((len(queries), width), np.nan, dtype=np.float32)
        self._unjudged: dict[int, str] = {}
        self._dropped: dict[int, int] = {}
        self._usage = Usage()

    def take(self, block: Block, scores: LabelScores | None) -> None:
        """Fills in what an actor returned for a block, or that the block's text killed it."""
        rows = block.rows
        if scores is None:
            self._unjudged.update(dict.fromkeys(rows, _DIED))
            return
        for i, (row, values) in enumerate(zip(rows, scores.logprobs, strict=True)):
            if i not in scores.unjudged:
                self._logprobs[row] = -np.inf
                self._logprobs[row, : len(values)] = values
        self._unjudged.update({rows[i]: reason for i, reason in scores.unjudged.items()})
        self._dropped.update({rows[i]: tokens for i, tokens in scores.dropped_tokens.items()})
        self._usage += scores.usage

    def finish(self, seconds: float) -> LabelScores:
        usage = replace(self._usage, seconds=seconds)
        return LabelScores(
            self._logprobs, dict(sorted(self._unjudged.items())), dict(sorted(self._dropped.items())), usage
        )


@dataclass(frozen=True, slots=True)
class _Flight:
    """A block that an actor has been sent; a probe is not part of the call's work."""

    actor: int
    block: Block
    probe: bool = False


class _Call:
    """One call of an engine's method, spread over the actors.

    Args:
        crew: The actors.
        homes: Where the prefixes are.
        method: Name of the method.
        items: What it is called with, in blocks.
        take: Called once for each block, or part of one, with its result, or with None for a single item that kills
            its actor.
    """

    def __init__(
        self, crew: Crew, homes: Homes, method: str, items: Sequence[_Item], take: Callable[[Block, Any], None]
    ) -> None:
        self._ray = import_ray()
        self._crew, self._homes = crew, homes
        self._method, self._items, self._take = method, items, take
        self._flights: dict[Any, _Flight] = {}  # in the order in which they were sent

    def run(self, blocks: Sequence[Block]) -> None:
        """Computes all blocks.

        Args:
            blocks: The blocks; together they hold every item once.

        Raises:
            EngineError: Actors keep dying whatever they are sent.
            UserError: What the engine raised in an actor.
        """
        self._queues = Queues(self._homes, blocks)
        self._left = sum(len(block.rows) for block in blocks)
        self._blamed = blocks[0] if blocks else None
        for actor in range(len(self._crew.members)):
            if not self._crew.is_open(actor):
                self._queues.lose(actor)
        try:
            while self._left:
                self._send_blocks()
                for ref in self._crew.wait(list(self._flights)):
                    if ref in self._flights:
                        self._land(ref)
        finally:
            for ref in self._flights:  # not empty after an error: what has not begun need not begin
                with suppress(self._ray.exceptions.RayError):
                    self._ray.cancel(ref)

    def _send_blocks(self) -> None:
        """Sends every idle actor a block, and then those at work one to go on with."""
        actors = [i for i in range(len(self._crew.members)) if self._crew.is_open(i)]
        for actor in actors:
            if not self._sent(actor):
                if self._crew.members[actor].on_probation and self._blamed is not None:
                    self._send(_Flight(actor, self._blamed, probe=True))
                elif block := self._queues.take(actor):
                    self._send(_Flight(actor, block))
        for actor in actors:
            flights = self._sent(actor)
            if len(flights) == 1 and not flights[0][1].probe and (block := self._queues.take_ahead(actor)):
                self._send(_Flight(actor, block))

    def _sent(self, actor: int) -> list[tuple[Any, _Flight]]:
        return [(ref, flight) for ref, flight in self._flights.items() if flight.actor == actor]

    def _send(self, flight: _Flight) -> None:
        items = [self._items[row] for row in flight.block.rows]
        if flight.probe:
            items = [_harmless(items[0])]
        handle = self._crew.members[flight.actor].handle
        self._flights[handle.call.remote(self._method, items)] = flight

    def _land(self, ref: Any) -> None:
        """Takes a result, or learns that the actor is lost."""
        flight = self._flights[ref]
        try:
            result = self._ray.get(ref)
        except self._ray.exceptions.RayTaskError:
            raise  # the engine behind has a bug; its traceback says where
        except self._ray.exceptions.RayError as cause:
            self._lose(flight.actor, cause)
            return
        del self._flights[ref]
        if isinstance(result, Refusal):
            raise result.error()
        self._crew.made_progress()
        if not flight.probe:
            self._settle(flight.block, result)

    def _lose(self, actor: int, cause: Exception) -> None:
        """Replaces an actor; the block that it was computing is suspected, those behind it are not."""
        began = [(ref, flight) for ref, flight in self._sent(actor) if not self._has_result(ref)]
        for ref, _ in began:
            del self._flights[ref]  # whatever comes of it now is not taken
        blocks = [flight.block for _, flight in began if not flight.probe]
        self._queues.lose(actor, blocks[1:])
        self._crew.replace(actor, cause)
        if blocks:
            self._blame(blocks[0])

    def _has_result(self, ref: Any) -> bool:
        """Whether a lost actor's call had ended; it is taken in its turn."""
        try:
            return bool(self._ray.wait([ref], timeout=0)[0]) and self._ray.get(ref) is not None
        except self._ray.exceptions.RayTaskError:
            return True
        except self._ray.exceptions.RayError:
            return False

    def _blame(self, block: Block) -> None:
        """Has a block tried once more, then in halves; gives up a single item."""
        self._blamed = block
        block.deaths += 1
        if block.deaths < 2:
            self._queues.suspect(block)
        elif self._method == "count_tokens":
            raise EngineError(f"counting the tokens of {len(block.rows):,} queries killed a Ray actor twice")
        elif len(block.rows) > 1:
            self._queues.suspect(*block.halves())
        else:
            self._settle(block, None)

    def _settle(self, block: Block, result: Any) -> None:
        self._take(block, result)
        self._left -= len(block.rows)


def _harmless(item: _Item) -> _Item:
    """The item about another text: an actor that dies of it too does not die of the text."""
    return replace(item, segments=tuple(replace(s, text="text") if s.from_case else s for s in item.segments))
