"""Reads a YAML or pydantic-checked file and turns every fault into one sentence with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from promptopt.errors import UserError

MAX_YAML_BYTES = 4 * 1024 * 1024


class _NoAliasLoader(yaml.SafeLoader):
    """YAML without aliases: a few nested anchors could otherwise grow into gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)


def read_yaml(path: Path, error: type[UserError]) -> dict[str, Any]:
    """Reads a mapping from a UTF-8 YAML file.

    Args:
        path: The file; at most 4 MiB, without aliases.
        error: The exception to raise.

    Returns:
        The mapping.

    Raises:
        UserError: Of the given type, when the file is missing, too large, not UTF-8, not YAML or not a mapping.
    """
    if not path.is_file():
        raise error("the file does not exist", where=path, remedy="check the path")
    if path.stat().st_size > MAX_YAML_BYTES:
        raise error(f"the file has {path.stat().st_size} bytes, more than {MAX_YAML_BYTES}", where=path)
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=_NoAliasLoader)  # noqa: S506 (a safe loader)
    except UnicodeDecodeError as cause:
        raise error(f"byte {cause.start} is not UTF-8", where=path, remedy="save the file as UTF-8") from cause
    except yaml.YAMLError as cause:
        mark = getattr(cause, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else path
        raise error(f"not valid YAML ({getattr(cause, 'problem', None) or cause})", where=where) from cause
    if not isinstance(data, dict):
        raise error(f"expected a mapping of keys, found {type(data).__name__}", where=path)
    return data


def explain_validation(cause: ValidationError) -> str:
    """The first fault of a pydantic validation as one clause with its key and the value found."""
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
        found = repr(fault["input"])
        shown = f" (found {found if len(found) <= 60 else found[:57] + '...'})" if key.split(".")[-1] != "text" else ""
        text = f"`{key}`: {message[:1].lower()}{message[1:]}{shown}"
    return text + (f" (and {more} more)" if more else "")
