"""Printing for people and for programs."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any, TextIO

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from promptopt.metrics.intervals import Interval

_WIDTH_WITHOUT_TERMINAL = 120  # rich's own 80 would fold tables in files and logs, where nothing asks for it


def console() -> Console:
    """Standard output for people."""
    return Console(highlight=False, emoji=False, width=_width(sys.stdout))


def error_console() -> Console:
    """Standard error, where progress goes, so that standard output stays clean."""
    return Console(stderr=True, highlight=False, emoji=False, width=_width(sys.stderr))


def print_json(data: Any) -> None:
    """One JSON document on standard output; numbers that are not finite become null."""
    if isinstance(data, BaseModel):
        data = data.model_dump(mode="json")
    json.dump(_finite(data), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def table(*columns: str, wrap: bool = True) -> Table:
    """An empty table; the first column is left-aligned, the others right-aligned.

    Args:
        columns: Their headings.
        wrap: Whether the first column gives way where there is too little room; otherwise the others do.
    """
    made = Table(header_style="bold", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        rigid = (i > 0) == wrap
        made.add_column(column, justify="right" if i else "left", overflow="fold", no_wrap=rigid)
    return made


def with_interval(interval: Interval | None, sign: str = "") -> str:
    """``0.812 [0.704, 0.893]``; a dash where there is nothing.

    Args:
        interval: The interval.
        sign: ``"+"`` for differences, which then show their sign.
    """
    if interval is None or not math.isfinite(interval.point):
        return "-"
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return f"{interval.point:{sign}.3f}"
    return f"{interval.point:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"


def count(number: int, one: str, many: str | None = None) -> str:
    """``1 case``, ``2 cases``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def program(name: str = "promptopt") -> str:
    """How to call a program of this installation in a shell, from the working directory.

    Args:
        name: The program; it stands beside ``promptopt``.

    Returns:
        The name where the shell finds it, otherwise its path (``.venv/bin/promptopt``).
    """
    called = Path(sys.argv[0])
    folder = called.parent if called.name == "promptopt" and called.is_file() else Path(sys.executable).parent
    path = folder / name
    found = shutil.which(name)
    if not path.is_file() or (found and Path(found).absolute() == path.absolute()):
        return name
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return shlex.quote(str(path))


def _width(stream: TextIO) -> int | None:
    """None leaves it to the terminal, or to the variable COLUMNS."""
    return None if stream.isatty() or os.environ.get("COLUMNS") else _WIDTH_WITHOUT_TERMINAL


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
