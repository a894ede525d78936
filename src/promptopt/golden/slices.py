"""Slices of a golden set: ``clause:V2.b``, ``severity:4``, ``severity>=3``, ``language:en``."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from promptopt.core.case import GoldenCase
from promptopt.errors import ConfigError
from promptopt.metrics.arrays import BoolArray

SEVERE = 3
SLICE_FORMS = "clause:V2.b, severity:4, severity>=3 or language:en"
_SLICE = re.compile(r"(clause|language):(.+)|(severity)(:|>=)([0-4])")


def is_slice(name: str) -> bool:
    """Whether it is the name of a slice."""
    return _SLICE.fullmatch(name) is not None


def slice_rows(name: str, cases: Sequence[GoldenCase]) -> BoolArray:
    """True for the violations in a slice; shape (cases,).

    Raises:
        ValueError: It is not the name of a slice.
    """
    found = _SLICE.fullmatch(name)
    if found is None:
        raise ValueError(f"{name!r} is not a slice")
    kind, value, severity, relation, degree = found.groups()
    if severity and relation == ":":
        inside = [case.severity == int(degree) for case in cases]
    elif severity:
        inside = [case.severity >= int(degree) for case in cases]
    else:
        inside = [getattr(case, kind) == value for case in cases]
    return np.array([case.is_violation for case in cases], dtype=np.bool_) & np.array(inside, dtype=np.bool_)


def all_slices(cases: Sequence[GoldenCase]) -> list[str]:
    """Every clause, severity from 3 and language that some violation has."""
    violations = [case for case in cases if case.is_violation]
    severities = sorted({case.severity for case in violations if case.severity >= SEVERE})
    pooled = [f"severity>={SEVERE}"] if len(severities) > 1 else []
    return [
        *(f"clause:{clause}" for clause in sorted({case.clause for case in violations if case.clause is not None})),
        *(f"severity:{severity}" for severity in severities),
        *pooled,
        *(f"language:{language}" for language in sorted({case.language for case in violations})),
    ]


def check_slice(name: str, cases: Sequence[GoldenCase], *, where: str, what: str) -> None:
    """Checks that a slice holds a violation.

    Args:
        name: The slice.
        cases: The cases.
        where: Key or option that names it.
        what: What the cases are, such as ``"the test split"``.

    Raises:
        ConfigError: It holds none; names the slices of its kind that do.
    """
    if not slice_rows(name, cases).any():
        known = [other for other in all_slices(cases) if other.split(":")[0] == re.split(":|>", name)[0]]
        raise ConfigError(
            f"no violation of {what} is in the slice {name}",
            where=where,
            remedy=f"there are {', '.join(known) or 'none of its kind'}",
        )
