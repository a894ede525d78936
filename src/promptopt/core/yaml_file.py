"""Reads a YAML or pydantic-checked file and turns every fault into one sentence with its place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from promptopt.errors import UserError

MAX_YAML_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 60
_SHOWN_CHARACTERS = 60

Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A mapping as a file has it.

    Attributes:
        path: The file.
        data: The mapping; what reads it must not change it.
        lines: Keys and positions from the top (``("clauses", 0, "severity")``) to the line, counted from 1, that the
            value begins on; for a value under a key, the key's line.
        text: The file's text.
    """

    path: Path
    data: Mapping[str, Any]
    lines: Mapping[Place, int]
    text: str

    def line(self, place: Sequence[str | int]) -> int:
        """The line of a place, or of the nearest one above it that the file has; 1 for the whole file."""
        keys = tuple(place)
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return self.lines.get(keys, 1)


class _StrictLoader(yaml.SafeLoader):
    """YAML without aliases, of which a few can grow into gigabytes, without keys that stand twice, and not too deep."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", event.start_mark)
        if self.depth >= MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", event.start_mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key `{key.value}` stands twice", key.start_mark)
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep=deep)


def read_yaml(path: Path, error: type[UserError]) -> dict[str, Any]:
    """Reads a mapping from a UTF-8 YAML file.

    Args:
        path: The file; at most 4 MiB, without aliases, without a key that stands twice in one mapping, and at most 60
            levels deep.
        error: The exception to raise.

    Returns:
        The mapping.

    Raises:
        UserError: Of the given type, when the file is missing, unreadable, too large, not UTF-8, not YAML or not a
            mapping.
    """
    return dict(read_yaml_file(path, error).data)


def read_yaml_file(path: Path, error: type[UserError], max_bytes: int = MAX_YAML_BYTES) -> YamlFile:
    """As :func:`read_yaml`, with the line of every key and value.

    Args:
        path: The file.
        error: The exception to raise.
        max_bytes: The largest file to take.

    Raises:
        UserError: As :func:`read_yaml`.
    """
    text = read_utf8_text(path, error, max_bytes)
    data, lines = _parse(text, path, error)
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        raise error(f"expected a mapping of keys, found {found}", where=path, remedy="write `key: value` lines")
    return YamlFile(path, data, lines, text)


def read_utf8_text(path: Path, error: type[UserError], max_bytes: int) -> str:
    """The text of a file.

    Raises:
        UserError: Of the given type, when the file is missing, unreadable, too large or not UTF-8; the latter two name
            the line.
    """
    if not path.is_file():
        raise error("the file does not exist", where=path, remedy="check the path")
    content = b""
    try:
        with path.open("rb") as file:
            content = file.read(max_bytes + 1)
        if len(content) > max_bytes:
            line = content.count(b"\n", 0, max_bytes) + 1
            raise error(
                f"the file has {path.stat().st_size} bytes, more than {max_bytes}, which line {line} exceeds",
                where=path,
                remedy="check that it is the file, or divide it",
            )
        # As `Path.read_text`, which takes every kind of line end for a newline.
        return content.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as cause:
        where = f"{path}:{content.count(bytes([10]), 0, cause.start) + 1}"
        raise error(f"byte {cause.start} is not UTF-8", where=where, remedy="save the file as UTF-8") from cause
    except OSError as cause:
        raise error(
            f"the file cannot be read ({cause.strerror})", where=path, remedy="check its permissions"
        ) from cause


def _parse(text: str, path: Path, error: type[UserError]) -> tuple[Any, dict[Place, int]]:
    remedy = "correct the file"
    try:
        loader = _StrictLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, {}
        lines: dict[Place, int] = {}
        _index(node, (), lines)
        return loader.construct_document(node), lines
    except yaml.YAMLError as cause:
        mark = getattr(cause, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        problem = getattr(cause, "problem", None) or getattr(cause, "reason", None) or " ".join(str(cause).split())
        raise error(f"not valid YAML ({problem})", where=where, remedy=remedy) from cause
    except ValueError as cause:  # such as a date on the 45th of a month, which YAML takes for a date all the same
        raise error(f"not valid YAML ({cause})", where=path, remedy=remedy) from cause
    except RecursionError as cause:
        raise error("not valid YAML (nested too deeply)", where=path, remedy=remedy) from cause


def _index(node: yaml.Node, place: Place, lines: dict[Place, int]) -> None:
    """Enters the lines of a node's children, theirs, and so on."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                lines[*place, key.value] = key.start_mark.line + 1
                _index(value, (*place, key.value), lines)
    elif isinstance(node, yaml.SequenceNode):
        for position, value in enumerate(node.value):
            lines[*place, position] = value.start_mark.line + 1
            _index(value, (*place, position), lines)


def explain_validation(cause: ValidationError) -> str:
    """The first fault of a pydantic validation as one clause with its key and the value found.

    The value of a key named ``text`` is never shown, nor what a mapping or list holds: it may be the text of a case.
    """
    fault = cause.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    message = str(fault["msg"]).removeprefix("Value error, ")
    more = cause.error_count() - 1
    if fault["type"] == "extra_forbidden":
        text = f"unknown key `{key}`"
    elif fault["type"] == "missing":
        text = f"key `{key}` is missing"
    elif not key:
        text = message
    else:
        text = f"`{key}`: {message[:1].lower()}{message[1:]}{_found(key, fault['input'])}"
    return text + (f" (and {more} more)" if more else "")


def _found(key: str, value: object) -> str:
    if key.split(".")[-1] == "text" or not isinstance(value, str | int | float | None):
        return ""
    found = repr(value)
    return f" (found {found if len(found) <= _SHOWN_CHARACTERS else found[: _SHOWN_CHARACTERS - 3] + '...'})"
