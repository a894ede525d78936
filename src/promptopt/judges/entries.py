"""A judge as lists name it: a file of ``configs/judge``, and the keys in which it differs from that file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from promptopt.core.yaml_file import read_yaml
from promptopt.errors import ConfigError

_FORMS = "write smollm2_135m, or {judge: smollm2_135m, dtype: float32}"


def read_entry(entry: Any, folder: Path, where: str) -> dict[str, Any]:
    """The configuration that an entry stands for, not checked yet.

    Args:
        entry: Name of a file, or ``judge`` with that name and keys of :class:`~promptopt.judges.config.JudgeConfig`.
            Without a ``name`` of its own, a judge that differs is called after what differs
            (``smollm2-135m-float32``).
        folder: Folder of the files.
        where: What the entry is called in errors.

    Raises:
        ConfigError: The entry has another form, names no file, or differs in a way that makes no name.
    """
    changed = {"judge": entry} if isinstance(entry, str) else entry
    if not isinstance(changed, dict) or not isinstance(changed.get("judge"), str):
        raise ConfigError(f"an entry of `judges` is {entry!r}", where=where, remedy=_FORMS)
    changed = dict(changed)
    file = folder / f"{changed.pop('judge')}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in folder.glob("*.yaml")))
        raise ConfigError(f"there is no judge {file.stem!r}", where=where, remedy=f"choose from {known}")
    base = read_yaml(file, ConfigError)
    if changed and "name" not in changed:
        changed["name"] = _name(str(base.get("name", file.stem)), changed, where)
    return {**base, **changed}


def _name(base: str, changed: dict[str, Any], where: str) -> str:
    if any(isinstance(value, dict | list) for value in changed.values()):
        keys = ", ".join(changed)
        raise ConfigError(f"a judge that differs in {keys} has no name", where=where, remedy="give it a `name`")
    return "-".join([base, *(str(changed[key]) for key in sorted(changed))])
