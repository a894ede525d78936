"""The option ``--part`` of ``promptopt judge``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from promptopt.core.content import PART_NAME
from promptopt.errors import ConfigError


def part_columns(given: Sequence[str]) -> dict[str, str]:
    """Part name to column, from ``PART=COLUMN``.

    Raises:
        ConfigError: An entry has another form, or a part is named twice.
    """
    columns: dict[str, str] = {}
    for entry in given:
        part, _, column = entry.partition("=")
        if not re.fullmatch(PART_NAME, part) or not column:
            raise ConfigError(
                f"expected PART=COLUMN with a part of small letters, digits and _, found {entry!r}",
                where="--part",
                remedy="write it as --part title=COLUMN",
            )
        if part in columns:
            raise ConfigError(
                f"the part {part} is named twice, for {columns[part]!r} and for {column!r}",
                where="--part",
                remedy="give one of them another name",
            )
        columns[part] = column
    return columns
