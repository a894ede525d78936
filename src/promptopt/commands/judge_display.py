"""How far ``promptopt judge`` is, on a terminal."""

from __future__ import annotations

import time
from datetime import timedelta

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from promptopt.commands.output import count, error_console


class JudgeDisplay:
    """Rows, speed and time left, live on a terminal.

    Args:
        silent: Show nothing at all.

    Attributes:
        before: Rows that earlier runs have judged.
    """

    def __init__(self, silent: bool) -> None:
        self._silent = silent
        self._console = error_console()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            transient=True,
            disable=silent or not self._console.is_terminal,
        )
        self._task = self._progress.add_task("checking the input", speed="", left="")
        self._doing = ""
        self._began = 0.0
        self._first = 0
        self.before = 0

    def __enter__(self) -> JudgeDisplay:
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def begun(self, before: int, rows: int) -> None:
        """Judging begins, or goes on."""
        self.before = before
        if before and not self._silent:
            self._console.print(f"going on: {before:,} of {count(rows, 'row')} were judged before")
        self._show("judging", before, rows)

    def judged(self, done: int, rows: int) -> None:
        """More rows are judged."""
        self._show("judging", done, rows)

    def joined(self, done: int, rows: int) -> None:
        """More rows are written."""
        self._show("writing", done, rows)

    def _show(self, doing: str, done: int, rows: int) -> None:
        if doing != self._doing:
            self._doing, self._began, self._first = doing, time.monotonic(), done
        seconds = time.monotonic() - self._began
        speed = (done - self._first) / seconds if seconds else 0.0
        left = f"{timedelta(seconds=round((rows - done) / speed))} left" if speed else ""
        self._progress.update(
            self._task, description=f"{doing} {done:,} of {rows:,} rows", speed=f"{speed:,.0f} rows/s", left=left
        )
