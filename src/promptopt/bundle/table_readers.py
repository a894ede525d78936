"""Reads tables of texts in blocks: JSONL, CSV and Parquet.

Each reader checks its whole file once before anything is judged, so that a fault in the last line costs seconds.
"""

from __future__ import annotations

import csv
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from promptopt.bundle.table_kinds import joint_kind, kind_of
from promptopt.errors import UserError

MAX_CSV_CELL = 16 * 1024 * 1024
_SCAN_ROWS = 8192
_LISTED_NAMES, _LISTED_LETTERS = 30, 40


class TableError(UserError):
    """A table that cannot be read, or has no place for the verdicts."""


@dataclass(frozen=True, slots=True)
class TableShape:
    """What a table holds.

    Attributes:
        kinds: Column name to the kind of its values: ``text``, ``bool``, ``int``, ``float``, ``empty`` (nothing but
            nulls) or ``json`` (anything else, and mixtures).
        rows: Number of rows.
        schema: The Arrow schema, for Parquet.
    """

    kinds: dict[str, str]
    rows: int
    schema: Any = None


@dataclass(frozen=True, slots=True)
class TableBlock:
    """A stretch of rows.

    Attributes:
        texts: What to judge, row by row; None where the cell is null.
        records: The rows as column name to value; empty for a Parquet block until asked for by :meth:`rows`.
        lines: The rows as they stand in the file, for JSONL.
        batch: The rows as an Arrow record batch, for Parquet.
    """

    texts: list[str | None]
    records: list[dict[str, Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    batch: Any = None

    def rows(self) -> list[dict[str, Any]]:
        """The rows as column name to value."""
        return self.records if self.batch is None else list(self.batch.to_pylist())


class TableReader(ABC):
    """One input file.

    Args:
        path: The file.
        text_column: The column to judge.
    """

    def __init__(self, path: Path, text_column: str) -> None:
        self.path = path
        self.text_column = text_column
        if not path.is_file():
            raise TableError("the file does not exist", where=path, remedy="check the path")

    @abstractmethod
    def scan(self) -> TableShape:
        """Checks the file and tells its shape.

        Raises:
            TableError: A line is malformed, or the text column is missing or not text; names the line.
        """

    @abstractmethod
    def blocks(self, size: int) -> Iterator[TableBlock]:
        """The rows in order, ``size`` at a time.

        Raises:
            TableError: As :meth:`scan`.
        """

    def require_text_column(self, columns: Sequence[str], where: str | Path) -> None:
        """Raises a TableError that lists the columns when the text column is not among them."""
        if self.text_column not in columns:
            raise TableError(
                f"there is no column `{self.text_column}` (columns: {_listed(columns)})",
                where=where,
                remedy="name the column that holds the texts with --text-column",
            )


class JsonlReader(TableReader):
    """One JSON object per line; blank lines are skipped."""

    def scan(self) -> TableShape:
        kinds: dict[str, str] = {}
        rows = 0
        for _, record in self._rows():
            rows += 1
            for name, value in record.items():
                kind = kind_of(value)
                kinds[name] = joint_kind(kinds.get(name, kind), kind)
        return TableShape(kinds={name: "int" if kind == "long" else kind for name, kind in kinds.items()}, rows=rows)

    def blocks(self, size: int) -> Iterator[TableBlock]:
        stream = self._rows()
        while chunk := list(islice(stream, size)):
            records = [record for _, record in chunk]
            texts = [record[self.text_column] for record in records]
            yield TableBlock(texts=texts, records=records, lines=[line for line, _ in chunk])

    def _rows(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for number, line in _decoded_lines(self.path):
            if not line.strip():
                continue
            where = f"{self.path}:{number}"
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as cause:
                reason = cause.msg if isinstance(cause, json.JSONDecodeError) else type(cause).__name__
                raise TableError(f"not valid JSON ({reason})", where=where, remedy="correct the line") from cause
            if not isinstance(record, dict):
                raise TableError(f"expected an object, found {type(record).__name__}", where=where)
            self.require_text_column(list(record), where)
            text = record[self.text_column]
            if text is not None and not isinstance(text, str):
                raise TableError(f"column `{self.text_column}` holds {type(text).__name__}, not text", where=where)
            yield line.strip(), record


class CsvReader(TableReader):
    """Comma-separated values with a header line, UTF-8, quoted as in RFC 4180."""

    def scan(self) -> TableShape:
        header = self._header()
        return TableShape(kinds=dict.fromkeys(header, "text"), rows=sum(1 for _ in self._rows()))

    def blocks(self, size: int) -> Iterator[TableBlock]:
        stream = self._rows()
        while chunk := list(islice(stream, size)):
            records: list[dict[str, Any]] = [dict(zip(header, cells, strict=True)) for header, cells in chunk]
            yield TableBlock(texts=[record[self.text_column] for record in records], records=records)

    def _header(self) -> list[str]:
        header = next((cells for _, cells in self._cells()), [])
        if not header:
            raise TableError("the file has no header line", where=self.path, remedy="add a line of column names")
        repeated = sorted({name for name in header if header.count(name) > 1})
        if repeated:
            raise TableError(f"column names used twice: {_listed(repeated)}", where=f"{self.path}:1")
        self.require_text_column(header, f"{self.path}:1")
        return header

    def _rows(self) -> Iterator[tuple[list[str], list[str]]]:
        header = self._header()
        for number, cells in islice(self._cells(), 1, None):
            if len(cells) != len(header):
                raise TableError(
                    f"{len(cells)} cells under {len(header)} columns",
                    where=f"{self.path}:{number}",
                    remedy="quote cells that hold commas or line breaks",
                )
            yield header, cells

    def _cells(self) -> Iterator[tuple[int, list[str]]]:
        """Line number and cells of every row that is not blank."""
        # the module's own limit of 128 KiB is process-wide and shorter than texts people do judge
        csv.field_size_limit(max(csv.field_size_limit(), MAX_CSV_CELL))
        reader = csv.reader((line for _, line in _decoded_lines(self.path)), strict=True)
        start = 1
        try:
            for cells in reader:
                if cells:
                    yield start, cells
                start = reader.line_num + 1
        except csv.Error as cause:
            where = f"{self.path}:{start}"
            raise TableError(
                f"not valid CSV ({cause})", where=where, remedy="correct the row that starts there"
            ) from cause


class ParquetReader(TableReader):
    """Parquet, read by pyarrow; values pass through in their own types."""

    def scan(self) -> TableShape:
        with self._open() as file:
            schema = file.schema_arrow
        names = list(schema.names)
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise TableError(f"column names used twice: {_listed(repeated)}", where=self.path)
        self.require_text_column(names, self.path)
        kind = schema.field(self.text_column).type
        if not _is_text(kind):
            raise TableError(f"column `{self.text_column}` holds {kind}, not text", where=self.path)
        rows = sum(batch.num_rows for batch in self._batches(_SCAN_ROWS, check=True))
        return TableShape(kinds=dict.fromkeys(names, "json"), rows=rows, schema=schema)

    def blocks(self, size: int) -> Iterator[TableBlock]:
        for batch in self._batches(size, check=False):
            yield TableBlock(texts=batch.column(self.text_column).to_pylist(), batch=batch)

    def _batches(self, size: int, *, check: bool) -> Iterator[Any]:
        import pyarrow as pa

        try:
            with self._open() as file:
                for batch in file.iter_batches(batch_size=size):
                    if check:
                        batch.validate(full=True)
                    yield batch
        except (pa.ArrowException, OSError) as cause:
            raise TableError(f"cannot be read as Parquet ({_first_line(cause)})", where=self.path) from cause

    def _open(self) -> Any:
        pq = import_parquet()
        import pyarrow as pa

        try:
            return pq.ParquetFile(self.path)
        except (pa.ArrowException, OSError) as cause:
            raise TableError(f"cannot be read as Parquet ({_first_line(cause)})", where=self.path) from cause


def import_parquet() -> Any:
    """pyarrow's Parquet module.

    Raises:
        TableError: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError as cause:
        raise TableError("Parquet needs the package pyarrow", remedy="install pyarrow, or use JSONL or CSV") from cause
    return pq


def _decoded_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and line, its end included; only line feeds end a line, a byte-order mark is dropped."""
    try:
        stream = path.open("rb")
    except OSError as cause:
        raise TableError(f"cannot be read ({cause.strerror})", where=path, remedy="check its permissions") from cause
    with stream:
        for number, line in enumerate(stream, start=1):
            try:
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as cause:
                where = f"{path}:{number}"
                raise TableError(
                    f"byte {cause.start} of the line is not UTF-8", where=where, remedy="save as UTF-8"
                ) from cause


def _listed(columns: Sequence[str]) -> str:
    """Column names for a message, cut short: what stands where names should may be a case text."""
    names = [name if len(name) <= _LISTED_LETTERS else f"{name[:_LISTED_LETTERS]}..." for name in columns]
    more = [f"and {len(names) - _LISTED_NAMES} more"] if len(names) > _LISTED_NAMES else []
    return ", ".join([*names[:_LISTED_NAMES], *more]) or "none"


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _first_line(cause: Exception) -> str:
    return str(cause).splitlines()[0] if str(cause) else type(cause).__name__
