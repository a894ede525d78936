"""``promptopt golden``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from promptopt.commands.output import console, count, print_json, program, table
from promptopt.config import resource
from promptopt.errors import ConfigError
from promptopt.golden.importing import ImportReport, import_golden
from promptopt.golden.reader import read_golden_set
from promptopt.golden.summary import summarise_golden

_LISTS = ("positive_values", "negative_values")
_TALLIES = (
    ("label", "labels"),
    ("violations by clause", "violation_clauses"),
    ("allowed by clause", "allowed_clauses"),
    ("language", "languages"),
    ("kind", "kinds"),
)


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
        f"[bold]{escape(summary['name'])}[/]: {count(summary['cases'], 'case')} of domain {summary['domain']} in "
        f"{count(summary['groups'], 'group')}, {count(summary['pairs'], 'contrast pair')}, "
        f"digest {summary['digest'][:12]}\n"
    )
    splits: dict[str, dict[str, Any]] = summary["splits"]
    for title, key in _TALLIES:
        shown = table(title, *splits, "all")
        shown.columns[0].min_width = max(len(name) for name, _ in _TALLIES)  # so that the tables' columns line up
        names = sorted({name for part in splits.values() for name in part[key]})
        for name in names:
            _add_counts(shown, escape(name), [part[key].get(name, 0) for part in splits.values()])
        if key == "labels":
            _add_counts(shown, "cases", [part["cases"] for part in splits.values()])
        if names:
            out.print(shown)
            out.print()


def _add_counts(shown: Table, name: str, counts: Sequence[int]) -> None:
    shown.add_row(name, *map(str, counts), str(sum(counts)))


def _print(report: ImportReport) -> None:
    out = console()
    splits = ", ".join(f"{split.value} {cases}" for split, cases in report.splits.items())
    labels = ", ".join(f"{label.value} {cases}" for label, cases in report.labels.items())
    out.print(
        f"[bold]{escape(report.name)}[/]: {count(report.cases, 'case')} ({labels}) in "
        f"{count(report.groups, 'group')}; {splits}"
    )
    for reason, cases in report.left_out.items():
        out.print(f"left out {cases:,}: {escape(reason)}")
    _print_line(f"written to {report.folder}", out)
    out.print("\n[bold]Next[/]")
    _print_line(f"  {program()} golden show {shlex.quote(report.folder)}", out)
    _print_line(f"  {program()} sweep {_sweep_overrides(report)}", out)


def _sweep_overrides(report: ImportReport) -> str:
    """What a shell has to hand to ``promptopt sweep`` to sweep on the imported set."""
    domain = f"domain={report.domain}"
    if not (resource("configs") / "domain" / f"{report.domain}.yaml").is_file():
        domain = f"domain.name={report.domain} domain.policy=POLICY.yaml"
    # Hydra's own quotes, for the blanks, commas and brackets that a path may have.
    plain = re.fullmatch(r"[\w./~+-]+", report.folder, re.ASCII)
    path = report.folder if plain else '"' + report.folder.replace('"', '\\"') + '"'
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", report.name).strip("-._") or report.domain
    return f"{domain} golden=folder {shlex.quote(f'golden.path={path}')} name={name[:100]}"


def _print_line(line: str, out: Console) -> None:
    """Prints a line that is for copying: whole, whatever the width."""
    out.print(line, soft_wrap=True, markup=False)


def _options(given: Sequence[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for entry in given:
        key, separator, value = entry.partition("=")
        if not separator or not key:
            raise ConfigError(f"option {entry!r} is not KEY=VALUE", where="--option", remedy="write category=S, say")
        options[key] = tuple(value.split(",")) if key in _LISTS else value
    return options
