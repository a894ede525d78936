"""``promptopt golden``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape

from promptopt.commands.output import console, print_json, table
from promptopt.errors import ConfigError
from promptopt.golden.importing import ImportReport, import_golden
from promptopt.golden.reader import read_golden_set
from promptopt.golden.summary import summarise_golden

_LISTS = ("positive_values", "negative_values")


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """What to import, as what, and where to."""

    source: Path
    destination: Path
    format: str
    domain: str
    name: str | None
    options: tuple[str, ...]
    limit: int | None
    max_chars: int | None
    seed: int
    overwrite: bool


def import_golden_set(request: ImportRequest, as_json: bool) -> None:
    """Imports labelled data and prints what was kept and left out."""
    options = _options(request.options)
    for key, value in (("limit", request.limit), ("max_chars", request.max_chars)):
        if value is not None:
            options[key] = value
    report = import_golden(
        request.format,
        request.source,
        request.destination,
        domain=request.domain,
        name=request.name or request.destination.name,
        options=options,
        seed=request.seed,
        overwrite=request.overwrite,
    )
    if as_json:
        print_json(report)
        return
    _print(report)


def show(folder: Path, as_json: bool) -> None:
    """Prints a golden set in numbers."""
    summary = summarise_golden(read_golden_set(folder))
    if as_json:
        print_json(summary)
        return
    out = console()
    out.print(
        f"[bold]{escape(summary['name'])}[/]: {summary['cases']} cases of domain {summary['domain']} in "
        f"{summary['groups']} groups, {summary['pairs']} contrast pairs, digest {summary['digest'][:12]}\n"
    )
    splits: dict[str, dict[str, Any]] = summary["splits"]
    for title, key in (
        ("label", "labels"),
        ("violations by clause", "violation_clauses"),
        ("allowed by clause", "allowed_clauses"),
        ("language", "languages"),
        ("kind", "kinds"),
    ):
        shown = table(title, *splits, "all")
        names = sorted({name for part in splits.values() for name in part[key]})
        for name in names:
            counts = [part[key].get(name, 0) for part in splits.values()]
            shown.add_row(escape(name), *map(str, counts), str(sum(counts)))
        out.print(shown)
        out.print()


def _print(report: ImportReport) -> None:
    out = console()
    splits = ", ".join(f"{split.value} {count}" for split, count in report.splits.items())
    labels = ", ".join(f"{label.value} {count}" for label, count in report.labels.items())
    out.print(f"[bold]{escape(report.name)}[/]: {report.cases} cases ({labels}) in {report.groups} groups; {splits}")
    for reason, count in report.left_out.items():
        out.print(f"left out {count}: {escape(reason)}")
    out.print(f"written to {report.folder}", soft_wrap=True)
    out.print("\nNext:")
    out.print(f"  promptopt golden show {report.folder}", soft_wrap=True)
    out.print(
        f"  promptopt sweep domain={report.domain} golden=folder golden.path={report.folder} name={report.name}",
        soft_wrap=True,
    )


def _options(given: Sequence[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for entry in given:
        key, separator, value = entry.partition("=")
        if not separator:
            raise ConfigError(f"option {entry!r} has no value", where="--option", remedy="write KEY=VALUE")
        options[key] = tuple(value.split(",")) if key in _LISTS else value
    return options
