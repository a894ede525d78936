"""What a sweep says while it runs where its output is not a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from promptopt.commands import progress
from promptopt.commands.progress import RichDisplay
from promptopt.scores.store import Spent


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_race_that_goes_on_says_so_every_half_minute(clock):
    out = io.StringIO()
    display = RichDisplay(Console(file=out, width=100))
    for seconds, cases in ((10, 12), (25, 15), (20, 19), (5, 24), (40, 30), (1, 100)):
        clock[0] += seconds
        display.judged(Spent(judgements=20, seconds=2.0))
        display.race_block(1, 20, cases, 100)
    assert out.getvalue().splitlines() == [
        "race 1: 20 candidates, 15/100 cases, 10 judgements/s",
        "race 1: 20 candidates, 30/100 cases, 10 judgements/s",
        "race 1: 20 candidates, 100/100 cases, 10 judgements/s",
    ]


def test_a_terminal_has_no_lines_of_races():
    out = io.StringIO()
    display = RichDisplay(Console(file=out, width=100, force_terminal=True))
    display.race_block(1, 20, 100, 100)
    assert out.getvalue() == ""
