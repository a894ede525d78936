"""Judging the parts of a table, in this process or in several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from promptopt.bundle.parts_files import PartFiles
from promptopt.bundle.table_formats import READERS, Format
from promptopt.bundle.table_readers import RowStart, TableError, TableReader
from promptopt.bundle.table_verdicts import OneVerdict, TableTally, VerdictLayout, VerdictRow
from promptopt.errors import EngineError

# what a judge says of a text is whatever the layout of the job makes columns of
Judge = Callable[[Sequence[str | None]], Sequence[Any]]
Advanced = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a table's rows.

    Attributes:
        number: Its number, from 0.
        start: Where it begins.
        rows: How many rows it has.
    """

    number: int
    start: RowStart
    rows: int


@dataclass(frozen=True, slots=True)
class PartJob:
    """What any process needs, besides a judge, to judge parts of a table.

    Attributes:
        source: The table; an absolute path.
        source_bytes: Its size when it was checked.
        source_format: Its format.
        text_column: The column to judge.
        block: Rows per call of the judge.
        files: Where the verdicts go.
        layout: How they become columns.
        part_columns: Part name to the column that holds it; empty where the text column is judged.
    """

    source: Path
    source_bytes: int
    source_format: Format
    text_column: str
    block: int
    files: PartFiles
    layout: VerdictLayout = field(default_factory=OneVerdict)
    part_columns: Mapping[str, str] = field(default_factory=dict)

    def reader(self) -> TableReader:
        """A reader of the table.

        Raises:
            TableError: The table is not what was checked.
        """
        reader = READERS[self.source_format](self.source, self.text_column, self.part_columns)
        if self.source.stat().st_size != self.source_bytes:
            raise changed(self.source)
        return reader


class PartWorkers(Protocol):
    """Whoever judges the parts."""

    def bundle(self) -> str:
        """Digest of the bundle."""
        ...

    def fingerprint(self) -> str:
        """Fingerprint of the judge; called once the table is found to be sound.

        Raises:
            UserError: The judge cannot be opened, or is not the one that it should be.
        """
        ...

    def judge_parts(self, job: PartJob, parts: Sequence[Part], advanced: Advanced) -> Iterator[TableTally]:
        """Judges parts and writes their files.

        Args:
            job: The table, and where the verdicts go.
            parts: The parts to judge, in order.
            advanced: Called with a number of rows whenever as many more are judged.

        Yields:
            The tally of each part, once its file is written; in any order.

        Raises:
            UserError: The judge cannot go on.
        """
        ...


def judge_here(judge: Judge, job: PartJob, parts: Sequence[Part], advanced: Advanced) -> Iterator[TableTally]:
    """Judges parts one after another in this process; see :meth:`PartWorkers.judge_parts`."""
    reader = job.reader()
    texts: Iterator[str | None] = iter(())
    position = -1
    for part in parts:
        if part.start.row != position:
            texts = reader.texts(part.start)
        yield judge_part(judge, job, part, texts, advanced)
        position = part.start.row + part.rows


def judge_part(
    judge: Judge, job: PartJob, part: Part, texts: Iterator[str | None], advanced: Advanced = lambda rows: None
) -> TableTally:
    """Judges one part and writes its file.

    Args:
        judge: From texts to verdicts.
        job: Where the verdicts go.
        part: The part.
        texts: A stream of texts that begins with the part's first; as many are taken as the part has rows.
        advanced: Called after each block with its number of rows.

    Returns:
        What the verdicts are.

    Raises:
        TableError: The table has fewer rows than it had when it was checked, or the file cannot be written.
        EngineError: From the judge.
    """
    rows: list[VerdictRow] = []
    tally = TableTally()
    while block := list(islice(texts, min(job.block, part.rows - len(rows)))):
        verdicts = judge(block)
        if len(verdicts) != len(block):
            raise EngineError(
                f"the judge gave {len(verdicts)} verdicts on {len(block)} texts", remedy="report this engine bug"
            )
        rows.extend(map(job.layout.row, verdicts))
        tally += job.layout.tally(verdicts)
        advanced(len(block))
    if len(rows) < part.rows:
        raise changed(job.source)
    job.files.write(part.number, rows, tally)
    return tally


def changed(source: Path) -> TableError:
    """The error that says that the input is not what it was."""
    return TableError(
        "the input was changed while it was judged",
        where=source,
        remedy="leave the file alone, and begin anew with --restart",
    )
