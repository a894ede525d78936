"""The formats that tables come in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from promptopt.bundle.table_parquet import ParquetReader
from promptopt.bundle.table_readers import TableError, TableReader
from promptopt.bundle.table_text import CsvReader, JsonlReader
from promptopt.bundle.table_writers import CsvWriter, JsonlWriter, ParquetWriter, TableWriter

Format = Literal["jsonl", "csv", "parquet"]

_EXTENSIONS: Mapping[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
READERS: Mapping[Format, type[TableReader]] = {"jsonl": JsonlReader, "csv": CsvReader, "parquet": ParquetReader}
WRITERS: Mapping[Format, type[TableWriter]] = {"jsonl": JsonlWriter, "csv": CsvWriter, "parquet": ParquetWriter}


def format_of(path: Path) -> Format:
    """The format that a file's extension stands for.

    Raises:
        TableError: The extension is not known; lists those that are.
    """
    extension = path.suffix.lower()
    if extension not in _EXTENSIONS:
        raise TableError(
            f"the extension {extension!r} is not that of a known format ({', '.join(_EXTENSIONS)})",
            where=path,
            remedy=f"rename the file to one of {', '.join(get_args(Format))}",
        )
    return _EXTENSIONS[extension]
