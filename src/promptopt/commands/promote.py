"""``promptopt promote``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from rich.markup import escape

from promptopt.commands.output import console, count, error_console, print_json, table
from promptopt.commands.promotion_report import as_html, as_markdown, further_reasons, remarks, sections, sentence
from promptopt.core.yaml_file import explain_validation
from promptopt.errors import ConfigError, UserError
from promptopt.pipeline.promotion import PromotionRequest, promote
from promptopt.pipeline.promotion_gate import GateSettings
from promptopt.pipeline.promotion_result import Promotion
from promptopt.pipeline.promotion_slices import RecallFloor, parse_floor

EXIT_NOT_PROMOTED = 1
_REPORTS = {".html": as_html, ".md": as_markdown}


@dataclass(frozen=True, slots=True)
class GateOptions:
    """The gate's options as the command line gives them.

    Attributes:
        alpha: Chance of error.
        precision_floor: Precision that recall is measured at.
        recall_floors: ``SLICE=VALUE`` each.
    """

    alpha: float
    precision_floor: float
    recall_floors: Sequence[str]

    def settings(self) -> GateSettings:
        """The options as the gate takes them.

        Raises:
            ConfigError: A value is out of range.
        """
        try:
            return GateSettings(alpha=self.alpha, precision_floor=self.precision_floor)
        except ValidationError as cause:
            raise ConfigError(
                explain_validation(cause), where="promote", remedy="see `promptopt promote --help`"
            ) from cause

    def floors(self) -> tuple[RecallFloor, ...]:
        """The recall floors.

        Raises:
            ConfigError: One is not ``SLICE=VALUE``.
        """
        return tuple(parse_floor(text) for text in self.recall_floors)


def run_promotion(request: PromotionRequest, report: Path | None, as_json: bool) -> None:
    """Compares two bundles on the sealed test; exits with 1 when the winner is not promoted."""
    if report is not None:
        _check_report(report)
    shown = error_console()
    if as_json or not shown.is_terminal:
        promotion = promote(request)
    else:
        with shown.status("reading") as status:
            promotion = promote(request, status.update)
    if report is not None:
        _write_report(report, _REPORTS[report.suffix](promotion))
    if as_json:
        print_json(promotion)
    else:
        _print(promotion, report)
    if not promotion.promoted:
        sys.exit(EXIT_NOT_PROMOTED)


def _print(promotion: Promotion, report: Path | None) -> None:
    out = console()
    out.print(
        f"[bold]Sealed test of {escape(promotion.golden)}[/]: {promotion.cases} cases in {promotion.groups} groups, "
        f"{count(promotion.violations, 'violation')}; winner {escape(promotion.winner.name)}, "
        f"incumbent {escape(promotion.incumbent.name)}"
    )
    for section in sections(promotion):
        out.print(f"\n[bold]{section.title}[/]")
        shown = table(*section.columns)
        for row in section.rows:
            shown.add_row(*[escape(cell) for cell in row])
        out.print(shown)
        if section.note:
            out.print(section.note, markup=False)
    out.print()
    for remark in remarks(promotion):
        out.print(remark, markup=False, soft_wrap=True)
    if report is not None:
        out.print(f"report   {report}", markup=False, soft_wrap=True)
    out.print(f"\n[bold]{escape(sentence(promotion))}[/]", soft_wrap=True)
    for reason in further_reasons(promotion):
        out.print(f"  {reason}", markup=False, soft_wrap=True)


def _check_report(path: Path) -> None:
    """Finds out before the test is opened whether the report could not be written."""
    if path.suffix not in _REPORTS:
        raise ConfigError(f"{path.name!r} is no report", where="--report", remedy="name a file .html or .md")
    if path.is_dir():
        raise ConfigError("a folder is in the way of the report", where=path, remedy="name a file")


def _write_report(path: Path, text: str) -> None:
    staged = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(text, encoding="utf-8")
        os.replace(staged, path)
    except OSError as cause:
        raise UserError(
            f"the report cannot be written ({cause.strerror})",
            where=path,
            remedy="name another file and run the same command again: it is the same opening of the test",
        ) from cause
