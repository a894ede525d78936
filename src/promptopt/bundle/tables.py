"""Judges a table of texts and writes it back with its verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from promptopt.bundle.runtime import DEFAULT_BLOCK
from promptopt.bundle.table_readers import CsvReader, JsonlReader, ParquetReader, TableError, TableReader
from promptopt.bundle.table_writers import CsvWriter, Extra, JsonlWriter, ParquetWriter, TableWriter
from promptopt.core.case import Label
from promptopt.core.model import FrozenModel
from promptopt.core.verdict import Verdict

Format = Literal["jsonl", "csv", "parquet"]
Judge = Callable[[Sequence[str | None]], Sequence[Verdict]]

_EXTENSIONS: Mapping[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_READERS: Mapping[Format, type[TableReader]] = {"jsonl": JsonlReader, "csv": CsvReader, "parquet": ParquetReader}
_WRITERS: Mapping[Format, type[TableWriter]] = {"jsonl": JsonlWriter, "csv": CsvWriter, "parquet": ParquetWriter}
VERDICT_COLUMNS: Mapping[str, str] = {
    "label": "text",
    "probability": "float",
    "clause": "text",
    "severity": "int",
    "rule": "text",
    "escalate": "bool",
    "truncated": "bool",
    "unjudged_reason": "text",
}


class TableOptions(FrozenModel):
    """How a table is judged.

    Attributes:
        text_column: The column to judge.
        prefix: Put before the name of every appended column.
        input_format: Format of the input; None goes by its extension.
        output_format: Format of the output; None goes by its extension.
        block: Rows judged and written at a time.
        overwrite: Replace an output that exists.
    """

    text_column: str = "text"
    prefix: str = "judge_"
    input_format: Format | None = None
    output_format: Format | None = None
    block: int = Field(default=DEFAULT_BLOCK, ge=1)
    overwrite: bool = False


class TableTally(FrozenModel):
    """What came of judging a table; ``violations + allowed + unjudged == rows``."""

    rows: int = 0
    violations: int = 0
    allowed: int = 0
    unjudged: int = 0
    escalated: int = 0
    truncated: int = 0

    def plus(self, verdicts: Sequence[Verdict]) -> TableTally:
        """The tally with more verdicts counted."""
        labels = [verdict.label for verdict in verdicts]
        return TableTally(
            rows=self.rows + len(verdicts),
            violations=self.violations + labels.count(Label.VIOLATION),
            allowed=self.allowed + labels.count(Label.ALLOWED),
            unjudged=self.unjudged + labels.count(None),
            escalated=self.escalated + sum(verdict.escalate for verdict in verdicts),
            truncated=self.truncated + sum(verdict.truncated for verdict in verdicts),
        )


def judge_table(
    judge: Judge,
    source: Path,
    target: Path,
    options: TableOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> TableTally:
    """Judges a table row by row and writes it with its verdicts; keeps every input column.

    The input is checked to its end before the first text is judged, and the output appears only when complete.

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
    options = options or TableOptions()
    reader_type = _READERS[options.input_format or format_of(source)]
    writer_type = _WRITERS[options.output_format or format_of(target)]
    reader = reader_type(source, options.text_column)
    _check_target(source, target, options.overwrite)
    shape = reader.scan()
    extra = {options.prefix + name: kind for name, kind in VERDICT_COLUMNS.items()}
    _check_clash(source, list(shape.kinds), extra)
    tally = TableTally()
    with writer_type(target, shape, extra) as writer:
        for block in reader.blocks(options.block):
            verdicts = judge(block.texts)
            writer.write(block, [verdict_columns(verdict, options.prefix) for verdict in verdicts])
            tally = tally.plus(verdicts)
            if progress is not None:
                progress(tally.rows, shape.rows)
    return tally


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


def verdict_columns(verdict: Verdict, prefix: str) -> Extra:
    """The appended columns of one row; a row without a verdict has nulls where a verdict would stand."""
    values = {
        "label": None if verdict.label is None else verdict.label.value,
        "probability": verdict.probability,
        "clause": verdict.clause,
        "severity": verdict.severity,
        "rule": verdict.rule,
        "escalate": verdict.escalate if verdict.is_judged else None,
        "truncated": verdict.truncated,
        "unjudged_reason": verdict.unjudged_reason,
    }
    return {prefix + name: values[name] for name in VERDICT_COLUMNS}


def _check_target(source: Path, target: Path, overwrite: bool) -> None:
    if target.exists() and target.samefile(source):
        raise TableError("the output is the input file", where=target, remedy="choose another output file")
    if target.is_dir():
        raise TableError("the output is a folder", where=target, remedy="name a file")
    if target.exists() and not overwrite:
        remedy = "choose another file, or replace it with --force"
        raise TableError("the output file exists", where=target, remedy=remedy)
    if not target.parent.is_dir():
        raise TableError("the folder of the output does not exist", where=target, remedy="create it first")


def _check_clash(source: Path, columns: Sequence[str], extra: Mapping[str, str]) -> None:
    clash = [name for name in extra if name in columns]
    if clash:
        raise TableError(
            f"the input already has columns that verdicts would take: {', '.join(clash)}",
            where=source,
            remedy="choose another --prefix for the verdict columns, or drop those columns",
        )
