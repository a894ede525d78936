"""Keys and values: what the policy language does not know, lacks or cannot read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from promptopt.core.yaml_file import Place
from promptopt.policy.linting.finding import CheckGroup, Finding, Level, LintRule
from promptopt.policy.linting.options import LintOptions
from promptopt.policy.linting.subject import Subject

MISSING_KEY = LintRule(
    code="PL001",
    name="missing key",
    level=Level.ERROR,
    finds="a key that the language requires is not there",
    remedy="add the key",
)
MISSING_SEVERITY = LintRule(
    code="PL002",
    name="missing severity",
    level=Level.ERROR,
    finds="a clause has no severity",
    remedy="give 1 (low) to 4 (critical) to a violation, 0 to a context that permits",
)
UNKNOWN_KEY = LintRule(
    code="PL003",
    name="unknown key",
    level=Level.ERROR,
    finds="a key that the language does not know, perhaps misspelt",
    remedy="remove the key or correct its spelling",
)
BAD_VALUE = LintRule(
    code="PL004",
    name="value that does not fit",
    level=Level.ERROR,
    finds="a value of another kind, outside its range, or not among the choices of its key",
    remedy="correct the value",
)
NO_INCLUDES = LintRule(
    code="PL201",
    name="no includes",
    level=Level.ERROR,
    finds="a clause names nothing that it covers",
    remedy="name two or three kinds of text that the clause covers",
)
NO_EXCLUDES = LintRule(
    code="PL202",
    name="includes without excludes",
    level=Level.ERROR,
    finds="a clause names nothing close to it that it does not cover",
    remedy="name two or three kinds of text that look alike and are not covered",
)
_LISTS = {"includes": NO_INCLUDES, "excludes": NO_EXCLUDES}
_SHOWN = 60


def check(subject: Subject, options: LintOptions) -> Iterator[Finding]:
    """The faults that the policy language itself refuses, one by one; faults between parts have checks of their own."""
    if subject.fault is None:
        return
    for fault in subject.fault.errors():
        # A list whose entries are all at fault counts as empty, which is not what is wrong with it.
        if fault["type"] == "too_short" and fault["input"]:
            continue
        if fault["type"] != "value_error" or len(fault["loc"]) > 0:
            yield _finding(subject, fault)


def _finding(subject: Subject, fault: Any) -> Finding:
    place: Place = tuple(fault["loc"])
    key = str(place[-1]) if place else ""
    if place[:1] == ("clauses",) and len(place) == 3:
        if key == "severity" and fault["type"] == "missing":
            return MISSING_SEVERITY.at(subject, place, "the clause has no severity")
        if key in _LISTS and fault["type"] in ("missing", "too_short"):
            return _LISTS[key].at(subject, place, f"the clause has no {key}")
    if fault["type"] == "missing":
        return MISSING_KEY.at(subject, place, f"key `{key}` is missing")
    if fault["type"] == "extra_forbidden":
        return UNKNOWN_KEY.at(subject, place, f"unknown key `{key}`")
    message = str(fault["msg"]).removeprefix("Value error, ")
    named = f"`{key}`: " if isinstance(place[-1], str) else ""
    return BAD_VALUE.at(subject, place, f"{named}{message[:1].lower()}{message[1:]}{_found(place, fault['input'])}")


def _found(place: Place, value: object) -> str:
    if "text" in place or not isinstance(value, str | int | float | None):
        return ""
    shown = repr(value)
    return f" (found {shown if len(shown) <= _SHOWN else shown[: _SHOWN - 3] + '...'})"


GROUP = CheckGroup(rules=(MISSING_KEY, MISSING_SEVERITY, UNKNOWN_KEY, BAD_VALUE, NO_INCLUDES, NO_EXCLUDES), check=check)
