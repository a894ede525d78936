"""What a golden set holds, in numbers and without texts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from promptopt.core.case import GoldenCase, Split
from promptopt.golden.golden_set import GoldenSet

NO_CLAUSE = "none"
_CELL = ("split", "label", "clause", "language", "kind")


def summarise_golden(golden: GoldenSet) -> dict[str, Any]:
    """Counts of a golden set.

    Args:
        golden: The set.

    Returns:
        JSON-ready data: name, domain, digest, cases, groups and pairs; under ``splits`` each split's cases, groups
        and counts by label, clause (of violations and of allowed cases apart; ``none`` where no clause is cited),
        language and kind; under ``cells`` the cases of every combination that occurs.
    """
    cells = Counter(
        (_split_name(c), c.label.value, c.clause or NO_CLAUSE, c.language, c.kind.value) for c in golden.cases
    )
    names = [split.value for split in Split] + ["unsplit"]
    parts = {name: [c for c in golden.cases if _split_name(c) == name] for name in names}
    return {
        "name": golden.name,
        "domain": golden.domain,
        "digest": golden.digest,
        "cases": len(golden.cases),
        "groups": len({c.group for c in golden.cases}),
        "pairs": len({c.pair for c in golden.cases if c.pair is not None}),
        "splits": {name: _summarise_part(cases) for name, cases in parts.items() if cases or name != "unsplit"},
        "cells": [{**dict(zip(_CELL, cell, strict=True)), "cases": times} for cell, times in sorted(cells.items())],
    }


def _summarise_part(cases: Sequence[GoldenCase]) -> dict[str, Any]:
    return {
        "cases": len(cases),
        "groups": len({c.group for c in cases}),
        "labels": _tally(c.label.value for c in cases),
        "violation_clauses": _tally(c.clause or NO_CLAUSE for c in cases if c.is_violation),
        "allowed_clauses": _tally(c.clause or NO_CLAUSE for c in cases if not c.is_violation),
        "languages": _tally(c.language for c in cases),
        "kinds": _tally(c.kind.value for c in cases),
    }


def _tally(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


def _split_name(case: GoldenCase) -> str:
    return "unsplit" if case.split is None else case.split.value
