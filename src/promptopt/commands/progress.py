"""The display of a running sweep: trials, best so far, speed, tokens, time left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from promptopt.config import AppConfig
from promptopt.core.candidate import Candidate
from promptopt.scores.store import Spent
from promptopt.search.study import TrialRecord

_LINE_EVERY = 10
_SILENCE = 30.0  # seconds after which a race that goes on says so
_ROOM_FOR_BAR = 110


class RichDisplay:
    """Live on a terminal; elsewhere a line every ten trials, and in races one every half minute.

    Args:
        console: Where to show it.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            *([BarColumn(bar_width=16)] if console.width >= _ROOM_FOR_BAR else []),
            MofNCompleteColumn(),
            TextColumn("best {task.fields[best]}"),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[tokens]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: Any = None
        self._total: int | None = None
        self._minimise = False
        self._began = time.monotonic()
        self._trials_here = 0
        self._here = Spent()
        self._said = time.monotonic()

    def __enter__(self) -> RichDisplay:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def started(self, config: AppConfig, blocks: Sequence[int], records: Sequence[TrialRecord], spent: Spent) -> None:
        """The sweep begins, or goes on."""
        self._total = config.search.budget.trials
        self._minimise = config.search.objective.directions[0] == "minimize"
        self._began = time.monotonic()
        cases = " + ".join(map(str, blocks))
        self._console.print(
            f"sweep [bold]{config.name}[/]: {config.domain.name}, {_judges(config)}, "
            f"space of {config.space.size:,} points, {cases} search cases"
        )
        if records:
            self._console.print(f"resuming after {len(records)} trials and {spent.judgements:,} judgements")
        self._task = self._progress.add_task(
            "trials",
            total=self._total,
            completed=_distinct(records),
            best=self._best(records),
            speed="",
            tokens="",
            left="",
        )

    def judged(self, cost: Spent) -> None:
        """An engine call is done."""
        here = self._here
        self._here = Spent(
            here.judgements + cost.judgements,
            here.tokens_computed + cost.tokens_computed,
            here.tokens_submitted + cost.tokens_submitted,
            here.seconds + cost.seconds,
        )
        if self._task is not None:
            self._progress.update(self._task, speed=self._speed(), tokens=_tokens(self._here.tokens_computed))

    def phase(self, what: str) -> None:
        """The sweep turns to something else than trials."""
        if self._task is None:
            self._console.print(f"[dim]{what}[/]")
            return
        self._progress.update(self._task, description=what, speed="", tokens="", left="", refresh=True)
        if not self._console.is_terminal:
            self._console.print(what)

    def trial_started(self, number: int, candidate: Candidate) -> None:
        """A candidate is about to be judged."""
        if self._task is not None:
            self._progress.update(self._task, description=f"trial {number}")

    def race_block(self, race: int, candidates: int, cases: int, of_cases: int) -> None:
        """A block of a race is about to be judged."""
        said = f"race {race}: {candidates} candidates, {cases}/{of_cases} cases"
        if self._task is not None:
            self._progress.update(self._task, description=said)
        silent = time.monotonic() - self._said
        if not self._console.is_terminal and (cases == of_cases or silent >= _SILENCE):
            self._say(", ".join(filter(None, (said, self._speed()))))

    def trial_finished(self, record: TrialRecord, records: Sequence[TrialRecord]) -> None:
        """A trial is on record."""
        self._trials_here += 1
        done = _distinct(records)
        best = self._best(records)
        if self._task is not None:
            self._progress.update(self._task, completed=done, best=best, left=self._left(done))
        if not self._console.is_terminal and done % _LINE_EVERY == 0 and record.repeats is None:
            self._say(f"{done}/{self._total or '?'} candidates, best {best}, {self._speed()}, {self._left(done)}")

    def _say(self, line: str) -> None:
        self._console.print(line)
        self._said = time.monotonic()

    def _best(self, records: Sequence[TrialRecord]) -> str:
        values = [record.values[0] for record in records if record.complete]
        return f"{(min if self._minimise else max)(values):.4f}" if values else "-"

    def _speed(self) -> str:
        here = self._here
        return f"{here.judgements / here.seconds:,.0f} judgements/s" if here.seconds else ""

    def _left(self, done: int) -> str:
        if not self._total or not self._trials_here:
            return ""
        seconds = (time.monotonic() - self._began) / self._trials_here * max(self._total - done, 0)
        return f"{int(seconds // 60)}:{int(seconds % 60):02d} left"


def _judges(config: AppConfig) -> str:
    names = escape(", ".join(judge.name for judge in config.every_judge))
    return f"judges {names}" if config.judges else f"judge {names}"


def _distinct(records: Sequence[TrialRecord]) -> int:
    return sum(record.repeats is None for record in records)


def _tokens(number: int) -> str:
    """``950 tokens``, ``12.3k tokens``, ``4.6M tokens``."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.1f}{unit} tokens"
    return f"{number} tokens"
