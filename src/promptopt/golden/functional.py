"""Functional cases as JSON lines: golden cases with the function that each one tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from promptopt.errors import GoldenSetError
from promptopt.golden.importers.hatecheck import import_hatecheck
from promptopt.golden.importers.options import ImportOptions
from promptopt.golden.ledger import CaseLedger
from promptopt.golden.lines import read_json_lines
from promptopt.golden.reader import parse_case
from promptopt.golden.writer import format_cases
from promptopt.policy.functional.model import FunctionalCase

_OWN = ("function", "base")


def format_functional_cases(cases: Sequence[FunctionalCase]) -> str:
    """The cases as JSON lines: the keys of a golden case in their order, then ``function`` and ``base``."""
    lines = []
    for line, case in zip(format_cases(cases).split("\n"), cases, strict=False):
        row = {**json.loads(line), **{key: getattr(case, key) for key in _OWN}}
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    return "".join(lines)


def read_functional_cases(path: Path) -> tuple[FunctionalCase, ...]:
    """Reads functional cases.

    Args:
        path: JSON lines as :func:`format_functional_cases` gives them, or golden cases, whose function is then their
            kind (``plain``, ``contrast``, ...).

    Returns:
        The cases in file order.

    Raises:
        GoldenSetError: A malformed line, a function that is no name, an id used twice, one text with two labels, or no
            case at all.
    """
    ledger = CaseLedger(refuse_two_labels=True)
    cases = []
    for where, row in read_json_lines(path):
        case = parse_case({key: value for key, value in row.items() if key not in _OWN}, where)
        function, base = row.get("function", case.kind.value), row.get("base")
        for key, value in (("function", function), ("base", base or "none")):
            if not isinstance(value, str) or not value.strip():
                raise GoldenSetError(f"`{key}` is {value!r}", where=where, remedy="write a name")
        ledger.add(case, where)
        cases.append(FunctionalCase(**case.model_dump(), function=function, base=base))
    if not cases:
        raise GoldenSetError("the file holds no case", where=path, remedy="write one JSON object a line")
    return tuple(cases)


def read_hatecheck_cases(path: Path) -> tuple[FunctionalCase, ...]:
    """Reads HateCheck's ``all_cases.csv``; the function of a case is its functionality, such as ``slur_h``.

    Raises:
        GoldenSetError: A missing column, an unknown label or a malformed row.
    """
    cases = import_hatecheck(path, ImportOptions()).cases
    return tuple(FunctionalCase(**case.model_dump(), function=case.id.rpartition("-")[0]) for case in cases)
