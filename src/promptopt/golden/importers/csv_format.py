"""Imports comma-separated values with a header line."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from promptopt.errors import GoldenSetError
from promptopt.golden.importers.options import ImportOptions
from promptopt.golden.importers.rows import Imported, Row, import_table
from promptopt.golden.lines import read_utf8


def import_csv(source: Path, options: ImportOptions) -> Imported:
    """Reads CSV (RFC 4180, UTF-8); the header names the columns.

    Raises:
        GoldenSetError: A malformed row, a missing column, an unknown label, an empty text or an id used twice.
    """
    return import_table(read_csv_rows(source), source, options)


def read_csv_rows(source: Path) -> list[Row]:
    """The rows of a CSV file by column name, each with the line it starts on.

    Raises:
        GoldenSetError: The file is missing or not UTF-8, has no header, names a column twice, or a row has more or
            fewer cells than the header.
    """
    reader = csv.reader(io.StringIO(read_utf8(source), newline=""), strict=True)
    rows: list[Row] = []
    header: list[str] = []
    line = 1
    try:
        header = next(reader, [])
        _check_header(header, source)
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                where = f"{source}:{line}"
                _check_width(cells, header, where)
                rows.append(Row(where, dict(zip(header, cells, strict=True))))
            line = reader.line_num + 1
    except csv.Error as cause:
        raise GoldenSetError(f"not valid CSV ({cause})", where=f"{source}:{line}", remedy="correct the row") from cause
    return rows


def _check_header(header: list[str], source: Path) -> None:
    if not header:
        raise GoldenSetError("the file has no header line", where=source, remedy="name the columns on the first line")
    if repeated := sorted({name for name in header if header.count(name) > 1}):
        raise GoldenSetError(
            f"the header names column `{repeated[0]}` twice", where=f"{source}:1", remedy="rename one of the two"
        )


def _check_width(cells: list[str], header: list[str], where: str) -> None:
    if len(cells) != len(header):
        raise GoldenSetError(
            f"the row has {len(cells)} cells, the header {len(header)}",
            where=where,
            remedy="quote cells that hold commas",
        )
