"""What is checked before a table is judged: that its output can be written, and has room for the verdicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from promptopt.bundle.table_readers import TableError


def check_target(source: Path, target: Path, overwrite: bool) -> None:
    """Refuses an output that cannot be written.

    Raises:
        TableError: It is the input, a folder, or there already; or its folder does not exist.
    """
    if target.exists() and target.samefile(source):
        raise TableError("the output is the input file", where=target, remedy="choose another output file")
    if target.is_dir():
        raise TableError("the output is a folder", where=target, remedy="name a file")
    if target.exists() and not overwrite:
        remedy = "choose another file, or replace it with --force"
        raise TableError("the output file exists", where=target, remedy=remedy)
    if not target.parent.is_dir():
        raise TableError("the folder of the output does not exist", where=target, remedy="create it first")


def check_clash(source: Path, columns: Sequence[str], extra: Mapping[str, str]) -> None:
    """Refuses an input whose columns leave no place for those to append.

    Raises:
        TableError: Names the columns.
    """
    clash = [name for name in extra if name in columns]
    if clash:
        raise TableError(
            f"the input already has columns that verdicts would take: {', '.join(clash)}",
            where=source,
            remedy="choose another --prefix for the verdict columns, or drop those columns",
        )
