"""Reads Parquet tables in a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from promptopt.bundle.table_readers import RowStart, TableBlock, TableError, TableReader, TableShape, listed

_ROWS_AT_A_TIME = 4096
_READ_BYTES = 1 << 20


class ParquetReader(TableReader):
    """Parquet, read by pyarrow; values pass through in their own types."""

    def scan(self, stretch: int) -> TableShape:
        with self._open() as file:
            schema = file.schema_arrow
        names = list(schema.names)
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise TableError(f"column names used twice: {listed(repeated)}", where=self.path)
        self.require_columns(names, self.path)
        for column in self.judged_columns:
            kind = schema.field(column).type
            if not _is_text(kind):
                raise TableError(f"column `{column}` holds {kind}, not text", where=self.path)
        rows = 0
        for batch in self._batches(_ROWS_AT_A_TIME):
            self._validate(batch)
            rows += batch.num_rows
        starts = tuple(RowStart(row) for row in range(0, rows, stretch))
        return TableShape(dict.fromkeys(names, "json"), rows, starts, schema)

    def texts(self, start: RowStart) -> Iterator[str | None]:
        with self._open() as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        group, skipped = 0, start.row
        while group < len(sizes) and skipped >= sizes[group]:
            skipped -= sizes[group]
            group += 1
        columns = list(dict.fromkeys(self.judged_columns))
        for batch in self._batches(_ROWS_AT_A_TIME, range(group, len(sizes)), columns):
            if skipped < batch.num_rows:
                yield from map(self.joined, batch.slice(skipped).select(columns).to_pylist())
            skipped = max(0, skipped - batch.num_rows)

    def blocks(self, size: int) -> Iterator[TableBlock]:
        for batch in self._batches(size):
            yield TableBlock(batch.num_rows, batch=batch)

    def _batches(
        self, size: int, groups: Sequence[int] | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[Any]:
        import pyarrow as pa

        try:
            with self._open() as file:
                yield from file.iter_batches(
                    batch_size=size,
                    row_groups=None if groups is None else list(groups),
                    columns=None if columns is None else list(columns),
                )
        except (pa.ArrowException, OSError) as cause:
            raise self._unreadable(cause) from cause

    def _validate(self, batch: Any) -> None:
        import pyarrow as pa

        try:
            batch.validate(full=True)
        except pa.ArrowException as cause:
            raise self._unreadable(cause) from cause

    def _open(self) -> Any:
        pq = import_parquet()
        import pyarrow as pa

        try:
            # without a buffer of its own, a column's whole share of a row group is read at once
            return pq.ParquetFile(self.path, buffer_size=_READ_BYTES, pre_buffer=False)
        except (pa.ArrowException, OSError) as cause:
            raise self._unreadable(cause) from cause

    def _unreadable(self, cause: Exception) -> TableError:
        reason = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        return TableError(f"cannot be read as Parquet ({reason})", where=self.path)


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


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
