"""What it is to read a table of texts in a stream; the formats are in ``table_text`` and ``table_parquet``.

Each reader checks its whole file once before anything is judged, so that a fault in the last line costs seconds. On the
way it notes where every stretch of rows begins, so that any stretch can be read by itself later.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from promptopt.core.content import PartedText
from promptopt.errors import UserError

_LISTED_NAMES, _LISTED_LETTERS = 30, 40


class TableError(UserError):
    """A table that cannot be read, or has no place for the verdicts."""


@dataclass(frozen=True, slots=True)
class RowStart:
    """Where a row begins.

    Attributes:
        row: Number of the row, from 0.
        offset: Byte at which it begins; 0 where the format has no such place.
        line: Line at which it begins, from 1.
    """

    row: int = 0
    offset: int = 0
    line: int = 1


@dataclass(frozen=True, slots=True)
class TableShape:
    """What a table holds.

    Attributes:
        kinds: Column name to the kind of its values: ``text``, ``bool``, ``int``, ``float``, ``empty`` (nothing but
            nulls) or ``json`` (anything else, and mixtures).
        rows: Number of rows.
        starts: Where each stretch of rows begins.
        schema: The Arrow schema, for Parquet.
    """

    kinds: dict[str, str]
    rows: int
    starts: tuple[RowStart, ...]
    schema: Any = None


@dataclass(frozen=True, slots=True)
class TableBlock:
    """A stretch of rows, with every column.

    Attributes:
        size: Number of rows.
        records: The rows as column name to value, for CSV.
        lines: The rows as they stand in the file, for JSONL.
        batch: The rows as an Arrow record batch, for Parquet.
    """

    size: int
    records: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    batch: Any = None

    def rows(self) -> list[dict[str, Any]]:
        """The rows as column name to value."""
        if self.batch is not None:
            return list(self.batch.to_pylist())
        return [json.loads(line) for line in self.lines] if self.lines else self.records


class TableReader(ABC):
    """One input file.

    Args:
        path: The file.
        text_column: The column to judge.
        part_columns: Part name to the column that holds it, where content with parts is judged instead.
    """

    def __init__(self, path: Path, text_column: str, part_columns: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.text_column = text_column
        self.part_columns = dict(part_columns or {})
        if not path.is_file():
            raise TableError("the file does not exist", where=path, remedy="check the path")

    @abstractmethod
    def scan(self, stretch: int) -> TableShape:
        """Checks the file and tells its shape.

        Args:
            stretch: Rows between two of the starts noted; at least 1.

        Raises:
            TableError: A line is malformed, or the text column is missing or not text; names the line.
        """

    @abstractmethod
    def texts(self, start: RowStart) -> Iterator[str | None]:
        """The texts from a row on, as :class:`PartedText` where they have parts; None where the cell is null.

        Args:
            start: One of the starts that :meth:`scan` noted.

        Raises:
            TableError: As :meth:`scan`.
        """

    @abstractmethod
    def blocks(self, size: int) -> Iterator[TableBlock]:
        """The rows in order, at most ``size`` at a time; the file has been scanned before.

        Raises:
            TableError: As :meth:`scan`.
        """

    @property
    def judged_columns(self) -> tuple[str, ...]:
        """The columns that hold what is judged."""
        return tuple(self.part_columns.values()) or (self.text_column,)

    def require_columns(self, columns: Sequence[str], where: str | Path) -> None:
        """Raises a TableError that lists the columns when one that is judged is not among them."""
        for column in self.judged_columns:
            if column not in columns:
                option = "--part" if self.part_columns else "--text-column"
                raise TableError(
                    f"there is no column `{column}` (columns: {listed(columns)})",
                    where=where,
                    remedy=f"name the column that holds the texts with {option}",
                )

    def joined(self, cells: Mapping[str, Any]) -> str | None:
        """What is judged of a row whose cells are texts or nulls."""
        if self.part_columns:
            return PartedText({part: cells[column] for part, column in self.part_columns.items()})
        text: str | None = cells[self.text_column]
        return text


def listed(columns: Sequence[str]) -> str:
    """Column names for a message, cut short: what stands where names should may be a case text."""
    names = [name if len(name) <= _LISTED_LETTERS else f"{name[:_LISTED_LETTERS]}..." for name in columns]
    more = [f"and {len(names) - _LISTED_NAMES} more"] if len(names) > _LISTED_NAMES else []
    return ", ".join([*names[:_LISTED_NAMES], *more]) or "none"
