"""Reads golden sets; every fault names its file, line, key and value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from promptopt.core.case import GoldenCase
from promptopt.core.digest import digest_file
from promptopt.core.yaml_file import explain_validation
from promptopt.errors import GoldenSetError
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.ledger import CaseLedger
from promptopt.golden.lines import read_json_lines, read_utf8
from promptopt.golden.manifest import Manifest

CASES_FILE = "cases.jsonl"
MANIFEST_FILE = "manifest.json"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def read_cases(path: Path) -> tuple[GoldenCase, ...]:
    """Reads golden cases from JSON lines.

    Args:
        path: One JSON object with the keys of :class:`GoldenCase` a line; a case has ``text`` or ``parts``.

    Returns:
        The cases in file order.

    Raises:
        GoldenSetError: A malformed line, an unknown or missing key, an unknown label, an empty text, a severity that
            contradicts the label, an id used twice, one text with two labels, or no case at all.
    """
    ledger = CaseLedger(refuse_two_labels=True)
    for where, row in read_json_lines(path):
        ledger.add(parse_case(row, where), where)
    if not ledger.cases:
        raise GoldenSetError("the file holds no case", where=path, remedy="write one JSON object a line")
    return tuple(ledger.cases)


def parse_case(row: Mapping[str, Any], where: str) -> GoldenCase:
    """One case from its keys.

    Raises:
        GoldenSetError: A key is missing, unknown or holds a value that does not fit.
    """
    try:
        case = GoldenCase.model_validate(row)
    except ValidationError as cause:
        raise GoldenSetError(explain_validation(cause), where=where, remedy="correct the line") from cause
    for key in ("id", "text", "group"):
        if _LONE_SURROGATE.search(getattr(case, key)):
            raise GoldenSetError(
                f"`{key}` holds half of a surrogate pair, which is no character", where=where, remedy="correct the line"
            )
    if case.is_violation != (case.severity > 0):
        raise GoldenSetError(
            f"case {case.id} is labelled {case.label} and has severity {case.severity}",
            where=where,
            remedy="give a violation 1 to 4, an allowed case 0",
        )
    return case


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest of a golden set folder.

    Raises:
        GoldenSetError: It is missing, malformed or has a value that does not fit.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise GoldenSetError("the golden set has no manifest", where=path, remedy=_admit(folder))
    try:
        return Manifest.model_validate_json(read_utf8(path))
    except ValidationError as cause:
        raise GoldenSetError(explain_validation(cause), where=path, remedy=_admit(folder)) from cause


def read_golden_set(folder: Path) -> GoldenSet:
    """Reads an admitted golden set.

    Args:
        folder: Holds ``cases.jsonl`` and ``manifest.json``.

    Returns:
        The set, every case with its split.

    Raises:
        GoldenSetError: A file is missing or malformed, the cases were changed after the manifest was written, a case
            has no split, or a split has no violation.
    """
    if not folder.is_dir():
        raise GoldenSetError("the folder does not exist", where=folder, remedy="check the path")
    cases_path = folder / CASES_FILE
    if not cases_path.is_file():
        raise GoldenSetError("the golden set has no cases", where=cases_path, remedy="check the path")
    manifest = read_manifest(folder)
    found = digest_file(cases_path)
    if found != manifest.digest:
        raise GoldenSetError(
            f"the file was changed after its manifest was written (SHA-256 {found[:12]}, not {manifest.digest[:12]})",
            where=cases_path,
            remedy=_admit(folder),
        )
    golden = GoldenSet(name=manifest.name, domain=manifest.domain, cases=read_cases(cases_path))
    golden.check_splits()
    return golden


def _admit(folder: Path) -> str:
    return f"run `python scripts/build_golden.py {folder.name}`, or import the set again, to admit it"
