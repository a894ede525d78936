"""What all importers share: rows with their places, column mapping, labels, and the tally of what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from promptopt.core.case import CaseKind, GoldenCase, Label
from promptopt.errors import GoldenSetError
from promptopt.golden.importers.options import ImportOptions
from promptopt.golden.ledger import CaseLedger
from promptopt.golden.reader import parse_case

_POSITIVE = frozenset({"violation", "1", "1.0", "true", "yes"})
_NEGATIVE = frozenset({"allowed", "0", "0.0", "false", "no"})
_REQUIRED = ("text", "label")
_OPTIONAL = ("id", "clause", "severity", "group", "language")
COLUMN_OPTIONS = frozenset({*_REQUIRED, *_OPTIONAL})
PARTS = "parts"
_KINDS = frozenset(kind.value for kind in CaseKind)


class Row(NamedTuple):
    """One record of a source file: ``"file:line"`` and its values by column."""

    where: str
    values: Mapping[str, Any]


class Imported(NamedTuple):
    """What an importer read.

    Attributes:
        cases: The cases in file order, without splits.
        left_out: Why rows were left out, and how many.
    """

    cases: list[GoldenCase]
    left_out: dict[str, int]


def import_table(rows: list[Row], source: Path, options: ImportOptions) -> Imported:
    """Cases from rows whose columns the options map.

    Args:
        rows: The rows, at least one.
        source: The file, for messages.
        options: Columns and label values.

    Returns:
        The cases; rows without a label are left out.

    Raises:
        GoldenSetError: A column or label value that does not exist, or a value that does not fit.
    """
    require_rows(rows, source)
    available = sorted({name for row in rows for name in row.values})
    with_parts = any(isinstance(row.values.get(PARTS), Mapping) for row in rows)
    columns = _map_columns(options, available, source, with_parts=with_parts)
    ledger, left_out = CaseLedger(refuse_two_labels=False), Counter[str]()
    width = len(str(len(rows)))
    for number, row in enumerate(rows, start=1):
        label = _label(row, columns["label"], options)
        if label is None:
            left_out["no label"] += 1
            continue
        fields = {name: _text_or_none(row.values.get(column)) for name, column in columns.items()}
        case_id = fields.get("id") or f"row-{number:0{width}d}"
        fields["language"] = fields.get("language") or options.default_language
        ledger.add(_case(row, fields, case_id, label, _content(row, columns)), row.where)
    return Imported(ledger.cases, dict(left_out))


def require_rows(rows: list[Row], source: Path) -> None:
    """Checks that a source is not empty.

    Raises:
        GoldenSetError: It holds no row.
    """
    if not rows:
        raise GoldenSetError("the file holds no row", where=source, remedy="check the path")


def require_columns(needed: Iterable[str], available: Iterable[str], source: Path) -> None:
    """Checks that a source has the columns its format promises.

    Raises:
        GoldenSetError: Names the first missing column and those that exist.
    """
    exist = list(available)
    for column in needed:
        if column not in exist:
            raise GoldenSetError(
                f"column `{column}` is missing", where=source, remedy=f"the file has {', '.join(exist) or 'no columns'}"
            )


def _map_columns(options: ImportOptions, available: list[str], source: Path, *, with_parts: bool) -> dict[str, str]:
    chosen = {name: getattr(options, name) for name in (*_REQUIRED, *_OPTIONAL)}
    require_columns((column for column in chosen.values() if column is not None), available, source)
    for name in _REQUIRED:
        if chosen[name] is None and name not in available and not (name == "text" and with_parts):
            raise GoldenSetError(
                f"column `{name}` is missing",
                where=source,
                remedy=f"set the option `{name}` to one of {', '.join(available) or 'no columns'}",
            )
    columns = {name: column or name for name, column in chosen.items()}
    columns.update({name: name for name in ("kind", "pair")})
    return {name: column for name, column in columns.items() if column in available}


def _label(row: Row, column: str, options: ImportOptions) -> Label | None:
    value = _text_or_none(row.values.get(column))
    if value is None:
        return None
    positive = frozenset(v.casefold() for v in options.positive_values) or _POSITIVE
    negative = frozenset(v.casefold() for v in options.negative_values) or _NEGATIVE
    if value.casefold() in positive:
        return Label.VIOLATION
    if value.casefold() in negative or (options.positive_values and not options.negative_values):
        return Label.ALLOWED
    raise GoldenSetError(
        f"`{column}`: unknown label {value[:60]!r}",
        where=row.where,
        remedy=f"a violation is one of {', '.join(sorted(positive))}, allowed one of {', '.join(sorted(negative))}; "
        "set positive_values and negative_values to say otherwise",
    )


def _content(row: Row, columns: Mapping[str, str]) -> dict[str, Any]:
    """What the case says: its parts, where the row has some, else its text."""
    text, parts = row.values.get(columns.get("text", "text"), ""), row.values.get(PARTS)
    if not isinstance(parts, Mapping):
        return {"text": text}
    return {"text": text, "parts": parts} if text else {"parts": parts}


def _case(
    row: Row, fields: Mapping[str, str | None], case_id: str, label: Label, content: Mapping[str, Any]
) -> GoldenCase:
    violating = label is Label.VIOLATION
    kind = fields.get("kind")
    return parse_case(
        {
            "id": case_id,
            **content,
            "label": label,
            "clause": fields.get("clause"),
            "severity": (fields.get("severity") or 1) if violating else 0,
            "group": fields.get("group") or fields.get("pair") or case_id,
            "language": fields["language"],
            "kind": kind if kind in _KINDS else CaseKind.PLAIN,
            "pair": fields.get("pair"),
        },
        row.where,
    )


def _text_or_none(value: Any) -> str | None:
    """A cell as text; None for one that is absent or blank."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    return value if isinstance(value, str) else str(value)
