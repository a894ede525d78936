"""Imports JSON lines, one object a line."""

from __future__ import annotations

from pathlib import Path

from promptopt.golden.importers.options import ImportOptions
from promptopt.golden.importers.rows import Imported, Row, import_table
from promptopt.golden.lines import read_json_lines


def import_jsonl(source: Path, options: ImportOptions) -> Imported:
    """Reads JSON lines; keys are the columns, and ``parts`` may stand for the text. Also takes promptopt's own cases.

    Raises:
        GoldenSetError: A malformed line, a missing column, an unknown label, an empty text or an id used twice.
    """
    return import_table([Row(where, row) for where, row in read_json_lines(source)], source, options)
