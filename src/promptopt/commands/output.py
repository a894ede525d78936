"""Printing for people and for programs."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from promptopt.metrics.intervals import Interval


def console() -> Console:
    """Standard output for people."""
    return Console(soft_wrap=False, highlight=False)


def error_console() -> Console:
    """Standard error, where progress goes, so that standard output stays clean."""
    return Console(stderr=True, highlight=False)


def print_json(data: Any) -> None:
    """One JSON document on standard output; numbers that are not finite become null."""
    if isinstance(data, BaseModel):
        data = data.model_dump(mode="json")
    json.dump(_finite(data), sys.stdout, indent=2, ensure_ascii=False)
    sys.stdout.write("\n")


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table; the first column is left-aligned, the others right-aligned."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False)
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i == 0 else "right", overflow="fold")
    return made


def with_interval(interval: Interval | None) -> str:
    """``0.812 [0.704, 0.893]``; a dash where there is nothing."""
    if interval is None or not math.isfinite(interval.point):
        return "-"
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return f"{interval.point:.3f}"
    return f"{interval.point:.3f} [{interval.low:.3f}, {interval.high:.3f}]"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
