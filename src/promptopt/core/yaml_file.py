"""Reads a YAML or pydantic-checked file and turns every fault into one sentence with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from promptopt.errors import UserError

MAX_YAML_BYTES = 4 * 1024 * 1024
_SHOWN_CHARACTERS = 60


class _StrictLoader(yaml.SafeLoader):
    """YAML without aliases, of which a few can grow into gigabytes, and without keys that stand twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)

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
        path: The file; at most 4 MiB, without aliases and without a key that stands twice in one mapping.
        error: The exception to raise.

    Returns:
        The mapping.

    Raises:
        UserError: Of the given type, when the file is missing, unreadable, too large, not UTF-8, not YAML or not a
            mapping.
    """
    data = _parse(_read_text(path, error), path, error)
    if not isinstance(data, dict):
        found = "nothing" if data is None else type(data).__name__
        raise error(f"expected a mapping of keys, found {found}", where=path, remedy="write `key: value` lines")
    return data


def _read_text(path: Path, error: type[UserError]) -> str:
    if not path.is_file():
        raise error("the file does not exist", where=path, remedy="check the path")
    try:
        size = path.stat().st_size
        if size > MAX_YAML_BYTES:
            raise error(
                f"the file has {size} bytes, more than {MAX_YAML_BYTES}", where=path, remedy="check that it is the file"
            )
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as cause:
        raise error(f"byte {cause.start} is not UTF-8", where=path, remedy="save the file as UTF-8") from cause
    except OSError as cause:
        raise error(
            f"the file cannot be read ({cause.strerror})", where=path, remedy="check its permissions"
        ) from cause


def _parse(text: str, path: Path, error: type[UserError]) -> Any:
    remedy = "correct the file"
    try:
        return yaml.load(text, Loader=_StrictLoader)  # noqa: S506 (a safe loader)
    except yaml.YAMLError as cause:
        mark = getattr(cause, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        problem = getattr(cause, "problem", None) or getattr(cause, "reason", None) or " ".join(str(cause).split())
        raise error(f"not valid YAML ({problem})", where=where, remedy=remedy) from cause
    except ValueError as cause:  # such as a date on the 45th of a month, which YAML takes for a date all the same
        raise error(f"not valid YAML ({cause})", where=path, remedy=remedy) from cause
    except RecursionError as cause:
        raise error("not valid YAML (nested too deeply)", where=path, remedy=remedy) from cause


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
