"""UTF-8 text files and JSON lines, every fault with its line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from promptopt.errors import GoldenSetError


def read_utf8(path: Path) -> str:
    """Reads a UTF-8 file, with or without a byte order mark.

    Raises:
        GoldenSetError: The file is missing or not UTF-8; says on which line.
    """
    if not path.is_file():
        raise GoldenSetError("the file does not exist", where=path, remedy="check the path")
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        # cause.object is what was decoded: the data without the byte order mark
        line = cause.object[: cause.start].count(b"\n") + 1
        raise GoldenSetError(
            f"byte {cause.object[cause.start]:#04x} is not UTF-8",
            where=f"{path}:{line}",
            remedy="save the file as UTF-8",
        ) from cause


def read_json_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Reads one JSON object a line; blank lines are passed over.

    Yields:
        ``"file:line"`` and the object.

    Raises:
        GoldenSetError: The file is missing or not UTF-8, or a line is not one JSON object with distinct keys.
    """
    # not splitlines(): U+2028 and its like are allowed inside JSON strings
    for number, line in enumerate(read_utf8(path).split("\n"), start=1):
        if line.strip():
            where = f"{path}:{number}"
            yield where, _parse_object(line, where)


def _parse_object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line, object_pairs_hook=_distinct_keys)
    except json.JSONDecodeError as cause:
        raise GoldenSetError(
            f"not valid JSON ({cause.msg} at column {cause.colno})", where=where, remedy="write one JSON object a line"
        ) from cause
    except (ValueError, RecursionError) as cause:
        raise GoldenSetError(
            f"not usable JSON ({cause})", where=where, remedy="write one JSON object a line"
        ) from cause
    if not isinstance(row, dict):
        raise GoldenSetError(f"expected a JSON object, found {type(row).__name__}", where=where)
    return row


def _distinct_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"key `{repeated}` stands twice")
    return row
