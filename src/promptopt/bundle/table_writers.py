"""Writes tables with verdicts in blocks: JSONL, CSV and Parquet.

Output goes to a temporary file on the same file system, which takes the output's name only when it is complete.
"""

from __future__ import annotations

import base64
import csv
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date, time
from math import isfinite
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from promptopt.bundle.table_parquet import import_parquet
from promptopt.bundle.table_readers import TableBlock, TableError, TableShape
from promptopt.bundle.table_verdicts import VerdictRow

_ROWS_PER_GROUP = 16_384


class TableWriter(ABC):
    """One output file; a context manager whose clean exit publishes it and whose failure leaves nothing.

    Args:
        path: The output.
        shape: The input's columns.
        extra: Name to kind (``text``, ``float``, ``int``, ``bool``) of the columns appended.
        partial: The temporary file; one that is there is replaced.
    """

    def __init__(self, path: Path, shape: TableShape, extra: Mapping[str, str], partial: Path) -> None:
        self.path = path
        self.shape = shape
        self.extra = extra
        self._partial = partial

    def __enter__(self) -> Self:
        try:
            self._partial.unlink(missing_ok=True)
            self.open(self._partial)
        except OSError as cause:
            self._partial.unlink(missing_ok=True)
            raise self._refusal(cause) from cause
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close(complete=error is None)
            if error is None:
                replace_synced(self._partial, self.path)
        except OSError as cause:
            # after a failure, that failure is what to report, and the file is thrown away in any case
            if error is None:
                raise self._refusal(cause) from cause
        finally:
            self._partial.unlink(missing_ok=True)

    def write(self, block: TableBlock, verdicts: Sequence[VerdictRow]) -> None:
        """Appends rows.

        Args:
            block: The input's rows.
            verdicts: For each row, the values of the appended columns in their order.

        Raises:
            TableError: The file system refuses.
        """
        if not block.size:
            return
        try:
            self.append(block, verdicts)
        except OSError as cause:
            raise self._refusal(cause) from cause

    def _refusal(self, cause: OSError) -> TableError:
        reason = cause.strerror or str(cause)
        return TableError(f"cannot be written ({reason})", where=self.path, remedy="make room or choose another file")

    @abstractmethod
    def open(self, partial: Path) -> None:
        """Creates the temporary file."""

    @abstractmethod
    def append(self, block: TableBlock, verdicts: Sequence[VerdictRow]) -> None:
        """Writes rows to the temporary file."""

    @abstractmethod
    def close(self, *, complete: bool) -> None:
        """Closes the temporary file, which is thrown away unless it is complete."""


class JsonlWriter(TableWriter):
    """One JSON object per line; lines that came from JSONL keep their bytes, and the new columns follow."""

    def open(self, partial: Path) -> None:
        self._stream = partial.open("xb")

    def append(self, block: TableBlock, verdicts: Sequence[VerdictRow]) -> None:
        heads = block.lines or [_dumps(plain(row)) for row in block.rows()]
        for head, verdict in zip(heads, verdicts, strict=True):
            added = _dumps(dict(zip(self.extra, verdict, strict=True)))
            self._stream.write(f"{head[:-1].rstrip()}, {added[1:]}\n".encode())

    def close(self, *, complete: bool) -> None:
        self._stream.close()


class CsvWriter(TableWriter):
    """Comma-separated values, UTF-8; nested values become JSON, nulls become empty cells."""

    def open(self, partial: Path) -> None:
        self._stream = partial.open("x", encoding="utf-8", newline="")
        self._writer = csv.writer(self._stream, lineterminator="\n")
        self._quoting = csv.writer(self._stream, lineterminator="\n", quoting=csv.QUOTE_ALL)
        self._write([*self.shape.kinds, *self.extra])

    def append(self, block: TableBlock, verdicts: Sequence[VerdictRow]) -> None:
        for row, verdict in zip(block.rows(), verdicts, strict=True):
            values = [row.get(name) for name in self.shape.kinds]
            self._write([_cell(value) for value in (*values, *verdict)])

    def close(self, *, complete: bool) -> None:
        self._stream.close()

    def _write(self, cells: list[str]) -> None:
        # a lone carriage return is only quoted by the csv module when every cell is
        if any("\r" in cell for cell in cells):
            self._quoting.writerow(cells)
        else:
            self._writer.writerow(cells)


class ParquetWriter(TableWriter):
    """Parquet; columns that came from Parquet keep their types."""

    def open(self, partial: Path) -> None:
        import pyarrow as pa

        pq = import_parquet()
        types = {"text": pa.string(), "json": pa.string(), "empty": pa.string()}
        types |= {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64()}
        self._extra_schema = pa.schema([(name, types[kind]) for name, kind in self.extra.items()])
        own = self.shape.schema
        if own is None:
            own = pa.schema([(name, types[kind]) for name, kind in self.shape.kinds.items()])
        self._own_schema = own
        self._schema = pa.schema([*own, *self._extra_schema], metadata=own.metadata)
        self._pending: list[Any] = []
        self._writer = pq.ParquetWriter(partial, self._schema)

    def append(self, block: TableBlock, verdicts: Sequence[VerdictRow]) -> None:
        import pyarrow as pa

        own = block.batch
        if own is None:
            own = pa.RecordBatch.from_pylist([self._storable(row) for row in block.rows()], schema=self._own_schema)
        columns = zip(*verdicts, strict=True)
        added = [pa.array(values, kind.type) for values, kind in zip(columns, self._extra_schema, strict=True)]
        self._pending.append(pa.RecordBatch.from_arrays([*own.columns, *added], schema=self._schema))
        if sum(batch.num_rows for batch in self._pending) >= _ROWS_PER_GROUP:
            self._flush()

    def close(self, *, complete: bool) -> None:
        if complete:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._pending:
            self._writer.write_table(pa.Table.from_batches(self._pending))
        self._pending = []

    def _storable(self, row: Mapping[str, Any]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for name, kind in self.shape.kinds.items():
            value = row.get(name)
            if kind == "json" and value is not None:
                value = _dumps(plain(value))
            out[name] = whole_unicode(value) if isinstance(value, str) else value
        return out


def replace_synced(partial: Path, path: Path) -> None:
    """Gives a finished file its name; afterwards it outlives a loss of power.

    Raises:
        OSError: The file system refuses.
    """
    with partial.open("rb+") as stream:
        os.fsync(stream.fileno())
    os.replace(partial, path)
    # not every file system lets a folder be synced, and the content is safe by now
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def plain(value: Any) -> Any:
    """The value in JSON's types: dates as ISO 8601, bytes as base64, numbers that are not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def whole_unicode(text: str) -> str:
    """The text with halves of surrogate pairs, which UTF-8 cannot carry, written out as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _dumps(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return whole_unicode(value)
    if isinstance(value, int | float):
        return repr(value)
    value = plain(value)
    return value if isinstance(value, str) else _dumps(value)
