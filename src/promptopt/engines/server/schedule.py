"""The order of requests: what comes first makes the server compute a shared beginning, the rest finds it cached."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

_Job = TypeVar("_Job")


async def run_groups(
    groups: Iterable[Iterable[_Job]], concurrency: int, work: Callable[[_Job], Awaitable[None]]
) -> None:
    """Does all jobs, several at a time.

    Groups are begun in order. A group's first job is done before its others are begun; while it runs, free workers
    take up jobs of earlier groups, and begin later groups only when there are none.

    Args:
        groups: Jobs that share a beginning, in the order in which they are to be begun.
        concurrency: Most jobs at a time.
        work: Does one job; the first exception ends the others and is raised.
    """
    agenda = _Agenda([deque(group) for group in groups])
    tasks = [asyncio.create_task(_work_off(agenda, work)) for _ in range(min(concurrency, agenda.jobs))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Agenda(Generic[_Job]):
    """What is left to do."""

    def __init__(self, groups: list[deque[_Job]]) -> None:
        self.jobs = sum(map(len, groups))
        self._waiting = deque(group for group in groups if group)
        self._open: deque[deque[_Job]] = deque()
        self._leaders = 0
        self._changed = asyncio.Condition()

    async def take(self) -> tuple[_Job, deque[_Job] | None] | None:
        """The next job, with its group where it is the first of one; None when nothing is left."""
        async with self._changed:
            while True:
                if self._open:
                    job = self._open[0].popleft()
                    if not self._open[0]:
                        self._open.popleft()
                    return job, None
                if self._waiting:
                    group = self._waiting.popleft()
                    self._leaders += 1
                    return group.popleft(), group
                if not self._leaders:
                    return None
                await self._changed.wait()

    async def open(self, group: deque[_Job]) -> None:
        """Lets a group's other jobs begin."""
        async with self._changed:
            self._leaders -= 1
            if group:
                self._open.append(group)
            self._changed.notify_all()


async def _work_off(agenda: _Agenda[_Job], work: Callable[[_Job], Awaitable[None]]) -> None:
    while taken := await agenda.take():
        job, group = taken
        await work(job)
        if group is not None:
            await agenda.open(group)
