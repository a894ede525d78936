"""Reads the tables that are lines of text: JSONL and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from promptopt.bundle.table_kinds import joint_kind, kind_of
from promptopt.bundle.table_readers import RowStart, TableBlock, TableError, TableReader, TableShape, listed

MAX_CSV_CELL = 16 * 1024 * 1024


class JsonlReader(TableReader):
    """One JSON object per line; blank lines are skipped."""

    def scan(self, stretch: int) -> TableShape:
        kinds: dict[str, str] = {}
        starts: list[RowStart] = []
        rows = 0
        lines = _Lines(self.path)
        for record in self._records(lines):
            if rows % stretch == 0:
                starts.append(RowStart(rows, lines.offset, lines.number))
            rows += 1
            for name, value in record.items():
                kind = kind_of(value)
                if kinds.get(name) != kind:
                    kinds[name] = joint_kind(kinds.get(name, kind), kind)
        kinds = {name: "int" if kind == "long" else kind for name, kind in kinds.items()}
        return TableShape(kinds, rows, tuple(starts))

    def texts(self, start: RowStart) -> Iterator[str | None]:
        for record in self._records(_Lines(self.path, start)):
            yield record[self.text_column]

    def blocks(self, size: int) -> Iterator[TableBlock]:
        stream = (stripped for line in _Lines(self.path) if (stripped := line.strip()))
        while chunk := list(islice(stream, size)):
            yield TableBlock(size=len(chunk), lines=chunk)

    def _records(self, lines: _Lines) -> Iterator[dict[str, Any]]:
        for line in lines:
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as cause:
                reason = cause.msg if isinstance(cause, json.JSONDecodeError) else type(cause).__name__
                where = f"{self.path}:{lines.number}"
                raise TableError(f"not valid JSON ({reason})", where=where, remedy="correct the line") from cause
            if not isinstance(record, dict):
                where = f"{self.path}:{lines.number}"
                raise TableError(f"expected an object, found {type(record).__name__}", where=where)
            if self.text_column not in record:
                self.require_text_column(list(record), f"{self.path}:{lines.number}")
            text = record[self.text_column]
            if text is not None and not isinstance(text, str):
                where = f"{self.path}:{lines.number}"
                raise TableError(f"column `{self.text_column}` holds {type(text).__name__}, not text", where=where)
            yield record


class CsvReader(TableReader):
    """Comma-separated values with a header line, UTF-8, quoted as in RFC 4180."""

    def scan(self, stretch: int) -> TableShape:
        header = self._header()
        starts: list[RowStart] = []
        rows = 0
        for start, _ in self._rows(header):
            if rows % stretch == 0:
                starts.append(start)
            rows += 1
        return TableShape(dict.fromkeys(header, "text"), rows, tuple(starts))

    def texts(self, start: RowStart) -> Iterator[str | None]:
        header = self._header()
        column = header.index(self.text_column)
        for _, cells in self._rows(header, start):
            yield cells[column]

    def blocks(self, size: int) -> Iterator[TableBlock]:
        header = self._header()
        stream = (cells for _, cells in self._rows(header))
        while chunk := list(islice(stream, size)):
            yield TableBlock(len(chunk), records=[dict(zip(header, cells, strict=True)) for cells in chunk])

    def _header(self) -> list[str]:
        header = next((cells for _, cells in self._cells(_Lines(self.path))), [])
        if not header:
            raise TableError("the file has no header line", where=self.path, remedy="add a line of column names")
        repeated = sorted({name for name in header if header.count(name) > 1})
        if repeated:
            raise TableError(f"column names used twice: {listed(repeated)}", where=f"{self.path}:1")
        self.require_text_column(header, f"{self.path}:1")
        return header

    def _rows(self, header: Sequence[str], start: RowStart | None = None) -> Iterator[tuple[RowStart, list[str]]]:
        """Where each row begins, and its cells."""
        stream = self._cells(_Lines(self.path, start))
        if start is None:
            next(stream, None)
        row = 0 if start is None else start.row
        for (offset, line), cells in stream:
            if len(cells) != len(header):
                raise TableError(
                    f"{len(cells)} cells under {len(header)} columns",
                    where=f"{self.path}:{line}",
                    remedy="quote cells that hold commas or line breaks",
                )
            yield RowStart(row, offset, line), cells
            row += 1

    def _cells(self, lines: _Lines) -> Iterator[tuple[tuple[int, int], list[str]]]:
        """Byte offset and line, and the cells, of every row that is not blank."""
        # the module's own limit of 128 KiB is process-wide and shorter than texts people do judge
        csv.field_size_limit(max(csv.field_size_limit(), MAX_CSV_CELL))
        begins = (lines.end, lines.number + 1)
        try:
            # the module takes no line before it needs it, so the lines taken so far end where the next row begins
            for cells in csv.reader(iter(lines), strict=True):
                if cells:
                    yield begins, cells
                begins = (lines.end, lines.number + 1)
        except csv.Error as cause:
            where = f"{self.path}:{begins[1]}"
            raise TableError(
                f"not valid CSV ({cause})", where=where, remedy="correct the row that starts there"
            ) from cause


class _Lines:
    """The lines of a file, their ends included; only line feeds end a line, a byte-order mark is dropped.

    Args:
        path: The file.
        start: Where to begin; None for the file's beginning.

    Attributes:
        number: Number of the line given last.
        offset: Byte at which it begins.
        end: Byte after its last.
    """

    def __init__(self, path: Path, start: RowStart | None = None) -> None:
        start = start or RowStart()
        self._path = path
        self.number = start.line - 1
        self.offset = self.end = start.offset

    def __iter__(self) -> Iterator[str]:
        try:
            stream = self._path.open("rb")
        except OSError as cause:
            raise TableError(
                f"cannot be read ({cause.strerror})", where=self._path, remedy="check its permissions"
            ) from cause
        with stream:
            stream.seek(self.end)
            for line in stream:
                self.number += 1
                self.offset = self.end
                self.end += len(line)
                try:
                    text = line.decode("utf-8-sig" if self.number == 1 else "utf-8")
                except UnicodeDecodeError as cause:
                    where = f"{self._path}:{self.number}"
                    raise TableError(
                        f"byte {cause.start} of the line is not UTF-8", where=where, remedy="save as UTF-8"
                    ) from cause
                yield text
