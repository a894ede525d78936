"""Imports one category of the OpenAI moderation evaluation set (Markov et al., 2023)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from promptopt.core.case import GoldenCase
from promptopt.errors import GoldenSetError
from promptopt.golden.importers.options import ImportOptions
from promptopt.golden.importers.rows import Imported, Row, require_rows
from promptopt.golden.ledger import CaseLedger
from promptopt.golden.lines import read_json_lines
from promptopt.golden.reader import parse_case

_NOT_CATEGORIES = frozenset({"id", "prompt"})


def import_openai_moderation(source: Path, options: ImportOptions) -> Imported:
    """Reads one category against the rest.

    A row without the category's key was never labelled for it: it is *unknown*, left out and counted, never taken as
    allowed. Rows without an ``id`` are numbered.

    Args:
        source: JSON lines with ``prompt`` and 0 or 1 under each category that was labelled.
        options: ``category`` is required.

    Returns:
        The cases, each its own group.

    Raises:
        GoldenSetError: No category or an unknown one (names those of the file), or a malformed line.
    """
    rows = [Row(where, row) for where, row in read_json_lines(source)]
    require_rows(rows, source)
    categories = sorted({key for row in rows for key in row.values} - _NOT_CATEGORIES)
    category = options.category
    if category not in categories:
        what = "no category is chosen" if category is None else f"unknown category `{category}`"
        raise GoldenSetError(
            what, where=source, remedy=f"choose one of {', '.join(categories) or '(none in the file)'}"
        )
    ledger, left_out = CaseLedger(refuse_two_labels=False), Counter[str]()
    for number, row in enumerate(rows, start=1):
        if row.values.get(category) is None:
            left_out[f"category {category} unknown"] += 1
        else:
            ledger.add(_case(row, category, number, options.default_language), row.where)
    return Imported(ledger.cases, dict(left_out))


def _case(row: Row, category: str, number: int, language: str) -> GoldenCase:
    value = row.values[category]
    if value not in (0, 1):
        raise GoldenSetError(f"`{category}`: {value!r} is neither 0 nor 1", where=row.where, remedy="correct the line")
    if "prompt" not in row.values:
        raise GoldenSetError("key `prompt` is missing", where=row.where, remedy="correct the line")
    case_id = str(row.values.get("id") or f"row-{number:05d}")
    return parse_case(
        {
            "id": case_id,
            "text": row.values["prompt"],
            "label": "violation" if value == 1 else "allowed",
            "severity": int(value),
            "group": case_id,
            "language": language,
        },
        row.where,
    )
