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
from promptopt.core.content import PartedText

MAX_CSV_CELL = 16 * 1024 * 1024
PARTS = "parts"


class JsonlReader(TableReader):
    """One JSON object per line; blank lines are skipped. A row may have an object ``parts`` in place of the text."""

    def scan(self, stretch: int) -> TableShape:
        kinds: dict[str, str] = {}
        starts: list[RowStart] = []
        rows = 0
        lines = _Lines(self.path)
        for record in self._records(lines):
            self._content(record, lines)
            if rows % stretch == 0:
                starts.append(RowStart(rows, lines.offset, lines.number))
            rows += 1
            for name, value in record.items():
                kind = kind_of(value)
                if kinds.get(name) != kind:
                    kinds[name] = joint_kind(kinds.get(name, kind), kind)
        kinds = {name: "int" if kind == "long" else kind for name, kind in kinds.items()}
        if self.part_columns and rows:
            self.require_columns(list(kinds), self.path)
        return TableShape(kinds, rows, tuple(starts))

    def texts(self, start: RowStart) -> Iterator[str | None]:
        lines = _Lines(self.path, start)
        for record in self._records(lines):
            yield self._content(record, lines)

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
            yield record

    def _content(self, record: dict[str, Any], lines: _Lines) -> str | None:
        """What is judged of a row: its columns that are parts, the object ``parts``, or the text column."""
        where = f"{self.path}:{lines.number}"
        text, parts = record.get(self.text_column), record.get(PARTS)
        if self.part_columns:
            return self._parted({part: record.get(column) for part, column in self.part_columns.items()}, where)
        if isinstance(parts, dict):
            if text is not None:
                raise TableError(
                    f"the row has `{self.text_column}` and `{PARTS}`",
                    where=where,
                    remedy=f"leave one of them out, or judge the text alone with --part text={self.text_column}",
                )
            return self._parted(parts, where)
        if self.text_column not in record:
            self.require_columns(list(record), where)
        if text is not None and not isinstance(text, str):
            raise TableError(f"column `{self.text_column}` holds {type(text).__name__}, not text", where=where)
        return text

    def _parted(self, parts: dict[str, Any], where: str) -> PartedText:
        try:
            return PartedText(parts)
        except ValueError as cause:
            raise TableError(str(cause), where=where, remedy="correct the line") from cause


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
        places = {column: header.index(column) for column in self.judged_columns}
        for _, cells in self._rows(header, start):
            yield self.joined({column: cells[place] for column, place in places.items()})

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
        self.require_columns(header, f"{self.path}:1")
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
