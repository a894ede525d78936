"""How a call is cut into blocks, and which actor computes which block.

Nothing here knows Ray. Cutting is a function of the queries and the number of actors alone, so a block that is redone
is the same block and gives the same numbers. Which actor computes it depends on who is free.

Each prefix has a home: the actor that computed it first, chosen as the one with the least to do. Homes are remembered
instead of hashed: the prefixes of one call are few and of unequal weight, and a hash would put two of four on one actor
half of the time. An idle actor takes blocks from the longest queue where that ends the call sooner even though it has
to compute the prefix as well.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from promptopt.engines.base import Segment

Segments = tuple[Segment, ...]
_HOMES = 4096
# An engine's prefix memory is limited too; a wrong guess costs time, never a result.
_RESIDENT = 32
_QUERY_COST = 40  # characters that stand for the chat template and the labels of one query


class _Group(NamedTuple):
    """Queries about one case after one prefix: their cost in characters, and their rows."""

    cost: int
    rows: tuple[int, ...]


@dataclass(slots=True, eq=False)
class Block:
    """Queries that one actor computes in one call; all of them have the same prefix.

    Attributes:
        groups: Row numbers; the rows of a group are about the same case and share its computation.
        prefix: Key of the prefix.
        prefix_cost: Characters of the prefix.
        cost: Characters of everything else.
        deaths: Actors that died while they computed it.
    """

    groups: tuple[tuple[int, ...], ...]
    prefix: int
    prefix_cost: int
    cost: int
    deaths: int = 0

    @property
    def rows(self) -> list[int]:
        """Row numbers, in the order in which they are sent."""
        return [row for group in self.groups for row in group]

    def halves(self) -> tuple[Block, Block]:
        """Two blocks of about equal size; a case's queries are parted only when the block holds nothing else.

        A half has one death left before it is halved again, and a single query two, so that no query is given up
        because an actor died of something else in its company.
        """
        groups = self.groups if len(self.groups) > 1 else tuple((row,) for row in self.groups[0])
        middle = len(groups) // 2
        first, second = self._part(groups[:middle]), self._part(groups[middle:])
        return first, second

    def _part(self, groups: tuple[tuple[int, ...], ...]) -> Block:
        size = sum(map(len, groups))
        cost = self.cost * size // len(self.rows)
        return Block(groups, self.prefix, self.prefix_cost, cost, deaths=0 if size == 1 else 1)


def cut_blocks(texts: Sequence[Segments], actors: int, least: int = 16, most: int = 256) -> list[Block]:
    """Cuts queries into blocks.

    Blocks get smaller towards the end (each is half of an actor's share of what is left), so that the actors finish
    together without many calls. Long cases come first.

    Args:
        texts: The segments of each query.
        actors: Actors that share the work.
        least: Fewest queries of a block, unless its prefix has no more.
        most: Most queries of a block; the queries about one case stay together even beyond.

    Returns:
        The blocks: those of one prefix next to each other, the prefixes with the most work first.
    """
    work = _group(texts)
    left = sum(group.cost for _, groups in work for group in groups)
    blocks: list[Block] = []
    for prefix, groups in work:
        key, prefix_cost = hash(prefix), sum(len(s.text) for s in prefix)
        part: list[tuple[int, ...]] = []
        size = cost = 0
        for i, group in enumerate(groups):
            part.append(group.rows)
            size, cost = size + len(group.rows), cost + group.cost
            full = i + 1 == len(groups) or size + len(groups[i + 1].rows) > most
            if full or (size >= least and 2 * actors * cost >= left):
                blocks.append(Block(tuple(part), key, prefix_cost, cost))
                left -= cost
                part, size, cost = [], 0, 0
    return blocks


def even_blocks(texts: Sequence[Segments], actors: int, most: int = 256) -> list[Block]:
    """Cuts requests into as many blocks as there are actors, or more so that none has more than ``most``.

    For work that gains from large batches even where the prefixes differ, such as writing texts.

    Args:
        texts: The segments of each request.
        actors: Actors that share the work.
        most: Most requests of a block.

    Returns:
        Blocks of equal size; requests with equal prefixes are next to each other.
    """
    groups = [(hash(prefix), group) for prefix, found in _group(texts) for group in found]
    count = max(min(actors, len(groups)), -(-len(groups) // most))
    bounds = [len(groups) * i // count for i in range(count + 1)] if count else [0]
    return [
        Block(tuple(g.rows for _, g in part), part[0][0], 0, sum(g.cost for _, g in part))
        for part in (groups[a:b] for a, b in pairwise(bounds))
    ]


def _group(texts: Sequence[Segments]) -> list[tuple[Segments, list[_Group]]]:
    """The queries by prefix and case, the prefixes with the most work first, long cases first."""
    prefixes: dict[Segments, dict[Segments, list[int]]] = {}
    for row, segments in enumerate(texts):
        start, end = _case_span(segments)
        prefixes.setdefault(segments[:start], {}).setdefault(segments[start:end], []).append(row)
    work = []
    for prefix, cases in prefixes.items():
        groups = []
        for case, rows in cases.items():
            after = len(prefix) + len(case)
            cost = _characters(case) + sum(_QUERY_COST + _characters(texts[row][after:]) for row in rows)
            groups.append(_Group(cost, tuple(rows)))
        work.append((prefix, sorted(groups, key=lambda g: -g.cost)))
    return sorted(work, key=lambda item: -sum(g.cost for g in item[1]))


def _case_span(segments: Segments) -> tuple[int, int]:
    """Where the first case text begins and where the last one ends."""
    cases = [i for i, s in enumerate(segments) if s.from_case]
    return (cases[0], cases[-1] + 1) if cases else (len(segments), len(segments))


def _characters(segments: Segments) -> int:
    return sum(len(s.text) for s in segments)


class Homes:
    """Which actor has which prefix, from call to call.

    Args:
        actors: Number of actors.
    """

    def __init__(self, actors: int) -> None:
        self._home: OrderedDict[int, int] = OrderedDict()
        self._resident: list[OrderedDict[int, None]] = [OrderedDict() for _ in range(actors)]

    def assign(self, blocks: Sequence[Block]) -> list[deque[Block]]:
        """Queues the blocks at their homes; a prefix without one goes where the least is queued.

        Args:
            blocks: As :func:`cut_blocks` returns them.

        Returns:
            A queue per actor.
        """
        queues: list[deque[Block]] = [deque() for _ in self._resident]
        cost: dict[int, int] = {}
        for block in blocks:
            cost[block.prefix] = cost.get(block.prefix, block.prefix_cost) + block.cost
        load = [0] * len(queues)
        for prefix in cost.keys() & self._home.keys():
            load[self._home[prefix]] += cost[prefix]
        homes = Counter(self._home.values())
        for prefix in cost:
            if prefix not in self._home:
                actor = min(range(len(queues)), key=lambda i: (load[i], homes[i], i))
                self._home[prefix] = actor
                load[actor] += cost[prefix]
                homes[actor] += 1
            self._home.move_to_end(prefix)
        for block in blocks:
            queues[self._home[block.prefix]].append(block)
        while len(self._home) > max(_HOMES, len(cost)):
            self._home.popitem(last=False)
        return queues

    def has(self, actor: int, prefix: int) -> bool:
        """Whether the actor's engine should still hold the prefix."""
        return prefix in self._resident[actor]

    def computes(self, actor: int, prefix: int) -> None:
        """Notes that the actor computes the prefix."""
        held = self._resident[actor]
        held[prefix] = None
        held.move_to_end(prefix)
        if len(held) > _RESIDENT:
            held.popitem(last=False)

    def forget(self, actor: int) -> None:
        """Notes that the actor was replaced and holds nothing."""
        self._resident[actor].clear()


class Queues:
    """The blocks of one call that wait for an actor.

    Args:
        homes: Where the prefixes are.
        blocks: The call's blocks.
    """

    def __init__(self, homes: Homes, blocks: Sequence[Block]) -> None:
        self._homes = homes
        self._own = homes.assign(blocks)
        self._orphans: deque[Block] = deque()
        self._suspects: deque[Block] = deque()
        self._running = [0] * len(self._own)

    def take(self, actor: int) -> Block | None:
        """The next block for an actor that has nothing to do: its own, one of a lost actor, or another's.

        Blocks that an actor died on come last, so that they keep nothing else from being computed.
        """
        block = None
        if self._own[actor]:
            block = self._own[actor].popleft()
        elif self._orphans:
            block = self._orphans.popleft()
        elif (stolen := self._steal(actor)) is not None:
            block = stolen
        elif self._suspects:
            block = self._suspects.popleft()
        return self._note(actor, block)

    def take_ahead(self, actor: int) -> Block | None:
        """A further block for an actor that is at work: its own, while another is left that an idle one may take."""
        return self._note(actor, self._own[actor].popleft() if len(self._own[actor]) > 1 else None)

    def lose(self, actor: int, unfinished: Sequence[Block] = ()) -> None:
        """Hands an actor's blocks, and those it had begun on through no fault of theirs, to whoever is free."""
        self._orphans.extendleft(reversed([*unfinished, *self._own[actor]]))
        self._own[actor].clear()
        self._homes.forget(actor)

    def suspect(self, *blocks: Block) -> None:
        """Puts blocks behind all others."""
        self._suspects.extend(blocks)

    def _note(self, actor: int, block: Block | None) -> Block | None:
        if block is not None:
            self._running[actor] = self._cost(actor, block)
            self._homes.computes(actor, block.prefix)
        return block

    def _steal(self, actor: int) -> Block | None:
        """A block of the longest queue, if that ends the call sooner; one whose prefix is here if there is one."""
        victim = max(range(len(self._own)), key=lambda i: sum(b.cost for b in self._own[i]))
        queue = self._own[victim]
        if not queue:
            return None
        block = next((b for b in reversed(queue) if self._homes.has(actor, b.prefix)), queue[-1])
        # What the other actor is computing is half done on average.
        if self._cost(actor, block) >= sum(b.cost for b in queue) + self._running[victim] / 2:
            return None
        queue.remove(block)
        return block

    def _cost(self, actor: int, block: Block) -> int:
        return block.cost + (0 if self._homes.has(actor, block.prefix) else block.prefix_cost)
