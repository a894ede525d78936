"""Judges a table of texts and writes it back with its verdicts.

The table is read three times, each time in a stream: it is checked, it is judged part by part, and it is joined with
the verdicts into the output.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Protocol

from pydantic import Field

from promptopt.bundle.parts import PartFolder, PartPlan
from promptopt.bundle.parts_files import PARTIAL, PartFiles
from promptopt.bundle.parts_work import Advanced, Judge, Part, PartJob, PartWorkers, changed, judge_here
from promptopt.bundle.runtime import DEFAULT_BLOCK
from promptopt.bundle.table_checks import check_clash, check_target
from promptopt.bundle.table_formats import READERS, WRITERS, Format, format_of
from promptopt.bundle.table_readers import TableReader, TableShape
from promptopt.bundle.table_verdicts import VERDICT_COLUMNS, OneVerdict, TableTally, VerdictLayout
from promptopt.core.content import PartName
from promptopt.core.digest import digest_file
from promptopt.core.model import FrozenModel

__all__ = [
    "VERDICT_COLUMNS",
    "TableFiles",
    "TableOptions",
    "TableTally",
    "TableWatcher",
    "format_of",
    "judge_in_parts",
    "judge_table",
]


class TableOptions(FrozenModel):
    """How a table is judged.

    Attributes:
        text_column: The column to judge.
        part_columns: Part name to the column that holds it, where content with parts is judged instead.
        prefix: Put before the name of every appended column.
        input_format: Format of the input; None goes by its extension.
        output_format: Format of the output; None goes by its extension.
        block: Rows judged and written at a time.
        overwrite: Replace an output that exists.
        part_rows: Rows per part; a run that is killed loses the part in work.
        restart: Throw away the parts of an earlier run.
    """

    text_column: str = "text"
    part_columns: dict[PartName, str] = Field(default_factory=dict)
    prefix: str = "judge_"
    input_format: Format | None = None
    output_format: Format | None = None
    block: int = Field(default=DEFAULT_BLOCK, ge=1)
    overwrite: bool = False
    part_rows: int = Field(default=4096, ge=1)
    restart: bool = False


@dataclass(frozen=True, slots=True)
class TableFiles:
    """A table to judge, where it goes, and how."""

    source: Path
    target: Path
    options: TableOptions

    @property
    def parts(self) -> Path:
        """The folder beside the output where finished parts wait for the others."""
        return self.target.with_name(f"{self.target.name}.parts")


class TableWatcher(Protocol):
    """Whoever wants to know how far it is."""

    def begun(self, before: int, rows: int) -> None:
        """Judging begins: rows judged by an earlier run, and rows in all."""
        ...

    def judged(self, done: int, rows: int) -> None:
        """More rows are judged: rows done, those of an earlier run included, and rows in all."""
        ...

    def joined(self, done: int, rows: int) -> None:
        """More rows of the output are written."""
        ...


def judge_table(
    judge: Judge,
    source: Path,
    target: Path,
    options: TableOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TableTally:
    """Judges a table in one go and writes it with its verdicts; keeps every input column.

    The input is checked to its end before the first text is judged, and the output appears only when complete. A run
    that fails leaves nothing: for one that can be taken up again see :func:`judge_in_parts`.

    Args:
        judge: From texts to verdicts, such as :meth:`promptopt.bundle.runtime.BundleJudge.judge`.
        source: JSONL, CSV or Parquet.
        target: Where to; the format may be another.
        options: Columns, formats and block size.
        progress: Called after each block with the rows done and the rows in all.

    Returns:
        How many rows got which verdict.

    Raises:
        TableError: A file has no known format, the input is malformed or lacks the text column (with file and line),
            the input already has a column of an appended name, or the output exists or cannot be written.
        EngineError: From the judge.
    """
    table = TableFiles(source, target, options or TableOptions())
    folder = target.with_name(f".{target.name}.{secrets.token_hex(4)}.parts")
    return _Run(table, _Unnamed(judge), _Told(progress)).within(PartFolder(folder, target, keep=False))


def judge_in_parts(
    workers: PartWorkers, table: TableFiles, watcher: TableWatcher, layout: VerdictLayout | None = None
) -> TableTally:
    """As :func:`judge_table`, and what is judged outlives the process.

    The verdicts of each finished part are kept in a folder beside the output until the output is complete. The same
    call goes on with the parts that are missing, after an error, Ctrl-C or ``kill -9``.

    Args:
        workers: Whoever judges.
        table: The files, and how to judge them.
        watcher: Told how far it is.
        layout: How the workers' verdicts become columns; one verdict per row by default.

    Returns:
        How many rows got which verdict, those judged by earlier runs included.

    Raises:
        TableError: As :func:`judge_table`; or the finished parts come from another input, bundle, judge or setting;
            or another process is judging into this output.
        UserError: From the workers.
    """
    return _Run(table, workers, watcher, layout).within(PartFolder(table.parts, table.target))


class _Run:
    """One run over a table."""

    def __init__(
        self, table: TableFiles, workers: PartWorkers, watcher: TableWatcher, layout: VerdictLayout | None = None
    ) -> None:
        source, options = table.source, table.options
        self._layout = layout or OneVerdict()
        self._table, self._options = table, options
        self._workers, self._watcher = workers, watcher
        self._format = options.input_format or format_of(source)
        self._writer_type = WRITERS[options.output_format or format_of(table.target)]
        self._reader: TableReader = READERS[self._format](source, options.text_column, options.part_columns)
        self._extra = {options.prefix + name: kind for name, kind in self._layout.columns.items()}
        check_target(source, table.target, options.overwrite)

    def within(self, folder: PartFolder) -> TableTally:
        """Checks, judges and joins."""
        source = self._table.source
        with folder:
            before = os.stat(source)
            shape = self._reader.scan(self._options.part_rows)
            check_clash(source, list(shape.kinds), self._extra)
            files = folder.begin(self._plan(shape), restart=self._options.restart)
            tally = self._judge(shape, files)
            after = os.stat(source)
            if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
                raise changed(source)
            self._join(shape, files)
            folder.complete = True
        return tally

    def _plan(self, shape: TableShape) -> PartPlan:
        source, options = self._table.source, self._options
        return PartPlan(
            input=source.name,
            input_bytes=source.stat().st_size,
            input_sha256=digest_file(source),
            input_format=self._format,
            text_column=options.text_column,
            part_columns=options.part_columns,
            prefix=options.prefix,
            part_rows=options.part_rows,
            rows=shape.rows,
            bundle=self._workers.bundle(),
            judge=self._workers.fingerprint(),
        )

    def _judge(self, shape: TableShape, files: PartFiles) -> TableTally:
        """Judges the parts that are missing; the tally is that of all parts."""
        tally = TableTally()
        missing = []
        for part in _parts(shape):
            found = files.tally(part.number)
            if found is None or found.rows != part.rows:
                missing.append(part)
            else:
                tally += found
        done = tally.rows
        self._watcher.begun(done, shape.rows)

        def advanced(rows: int) -> None:
            nonlocal done
            done += rows
            self._watcher.judged(done, shape.rows)

        if missing:
            for judged in self._workers.judge_parts(self._job(files), missing, advanced):
                tally += judged
        return tally

    def _job(self, files: PartFiles) -> PartJob:
        source, options = self._table.source.resolve(), self._options
        return PartJob(
            source,
            source.stat().st_size,
            self._format,
            options.text_column,
            options.block,
            files,
            self._layout,
            options.part_columns,
        )

    def _join(self, shape: TableShape, files: PartFiles) -> None:
        """Reads the table and its verdicts side by side and writes them as one."""
        target = self._table.target
        verdicts = chain.from_iterable(files.verdicts(number) for number in range(len(shape.starts)))
        done = 0
        with self._writer_type(target, shape, self._extra, files.folder / f"output{PARTIAL}") as writer:
            for block in self._reader.blocks(self._options.block):
                rows = list(islice(verdicts, block.size))
                if len(rows) < block.size:
                    raise changed(self._table.source)
                writer.write(block, rows)
                done += block.size
                self._watcher.joined(done, shape.rows)
            if done < shape.rows:
                raise changed(self._table.source)


class _Unnamed:
    """Workers that are one callable which says nothing of itself; its verdicts are good for one run."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def bundle(self) -> str:
        return ""

    def fingerprint(self) -> str:
        return ""

    def judge_parts(self, job: PartJob, parts: Sequence[Part], advanced: Advanced) -> Iterator[TableTally]:
        return judge_here(self._judge, job, parts, advanced)


class _Told:
    """A watcher that passes on the rows judged, and nothing else."""

    def __init__(self, progress: Callable[[int, int], None] | None) -> None:
        self._progress = progress

    def begun(self, before: int, rows: int) -> None: ...

    def joined(self, done: int, rows: int) -> None: ...

    def judged(self, done: int, rows: int) -> None:
        if self._progress is not None:
            self._progress(done, rows)


def _parts(shape: TableShape) -> Iterator[Part]:
    ends = [start.row for start in shape.starts[1:]] + [shape.rows]
    for number, (start, end) in enumerate(zip(shape.starts, ends, strict=True) if shape.starts else ()):
        yield Part(number, start, end - start.row)
