"""Imports HateCheck (Röttger et al., 2021): functional test cases for hate speech detection."""

from __future__ import annotations

from pathlib import Path

from promptopt.core.case import CaseKind, GoldenCase, Label
from promptopt.errors import GoldenSetError
from promptopt.golden.components import Components
from promptopt.golden.importers.csv_format import read_csv_rows
from promptopt.golden.importers.options import ImportOptions
from promptopt.golden.importers.rows import Imported, Row, require_columns, require_rows
from promptopt.golden.ledger import CaseLedger
from promptopt.golden.reader import parse_case

_COLUMNS = ("functionality", "case_id", "test_case", "label_gold", "templ_id", "ref_templ_id")
_LABELS = {"hateful": Label.VIOLATION, "non-hateful": Label.ALLOWED}


def import_hatecheck(source: Path, options: ImportOptions) -> Imported:
    """Reads HateCheck's ``all_cases.csv``.

    Templates that are derived from one another (spelling variants, negations) form one group, named after the root
    template's number. A case's id starts with its functionality (``slur_h-213``). Non-hateful cases are hard negatives.

    Args:
        source: The CSV file.
        options: Only the options that every format takes.

    Returns:
        The cases; none is left out.

    Raises:
        GoldenSetError: A missing column, an unknown label or a malformed row.
    """
    rows = read_csv_rows(source)
    require_rows(rows, source)
    require_columns(_COLUMNS, rows[0].values, source)
    templates = Components(
        name for row in rows for key in ("templ_id", "ref_templ_id") if (name := _template(row, key)) is not None
    )
    for row in rows:
        own, root = _template(row, "templ_id"), _template(row, "ref_templ_id")
        if own is not None and root is not None:
            templates.join(own, root)
    ledger = CaseLedger(refuse_two_labels=False)
    for row in rows:
        ledger.add(_case(row, templates, options.default_language), row.where)
    return Imported(ledger.cases, {})


def _case(row: Row, templates: Components, language: str) -> GoldenCase:
    values = row.values
    label = _LABELS.get(values["label_gold"])
    if label is None:
        raise GoldenSetError(
            f"`label_gold`: unknown label {values['label_gold'][:60]!r}",
            where=row.where,
            remedy=f"use {' or '.join(_LABELS)}",
        )
    case_id = f"{values['functionality']}-{values['case_id']}"
    template = _template(row, "templ_id")
    return parse_case(
        {
            "id": case_id,
            "text": values["test_case"],
            "label": label,
            "severity": int(label is Label.VIOLATION),
            "group": case_id if template is None else templates.find(template),
            "language": language,
            "kind": CaseKind.PLAIN if label is Label.VIOLATION else CaseKind.HARD_NEGATIVE,
        },
        row.where,
    )


def _template(row: Row, key: str) -> str | None:
    """A template's name, padded so that names sort as their numbers do."""
    return f"template-{row.values[key].strip():0>4}" if row.values[key].strip() else None
