"""``promptopt policy test``."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape as escape_html
from pathlib import Path

from rich.markup import escape

from promptopt.bundle.composition.opening import open_judge
from promptopt.bundle.composition.reader import read_judge
from promptopt.bundle.composition.tree import Node
from promptopt.commands.output import console, count, print_json, table, with_interval
from promptopt.commands.policy_cases import made_cases, write_whole
from promptopt.core.case import Label
from promptopt.core.verdict import Verdict
from promptopt.errors import ConfigError
from promptopt.golden.functional import read_functional_cases, read_hatecheck_cases
from promptopt.metrics.functional import FunctionalReport, FunctionResult, accuracy_by_function
from promptopt.policy.functional.model import FunctionalCase
from promptopt.policy.model import Policy
from promptopt.policy.reader import read_policy

EXIT_BELOW_MINIMUM = 1
_HEADINGS = ("function", "cases", "violations", "no verdict", "accuracy [95%]")


@dataclass(frozen=True, slots=True)
class PolicyTestRequest:
    """What to test.

    Attributes:
        policy: The policy file.
        bundle: Folder of an exported judge or of a composite one, or the file of a composition.
        cases: Functional cases as JSON lines; None makes them from the policy.
        hatecheck: HateCheck's ``all_cases.csv`` instead.
        limit: At most this many cases made from the policy.
        seed: For making them.
        report: Where to write a report too; ``.html`` or ``.md``.
        minimum: Accuracy over all cases that must be reached; None asks for none.
        texts: Whether failures are printed with their texts.
        any_judge: Whether another judge than the one that was measured will do.
    """

    policy: Path
    bundle: Path
    cases: Path | None = None
    hatecheck: Path | None = None
    limit: int | None = None
    seed: int = 0
    report: Path | None = None
    minimum: float | None = None
    texts: bool = False
    any_judge: bool = False


def test(request: PolicyTestRequest, as_json: bool) -> None:
    """Judges functional cases and prints accuracy by function; exits with 1 below the minimum that was asked for."""
    _check(request)
    policy = read_policy(request.policy)
    cases = _cases(request, policy)
    bundle = read_judge(request.bundle)
    verdicts = _judge(request, bundle, cases)
    report = accuracy_by_function(
        [c.id for c in cases],
        [c.function for c in cases],
        [c.is_violation for c in cases],
        [v.label is Label.VIOLATION if v.is_judged else None for v in verdicts],
    )
    same = all(applied.digest == policy.digest for applied in bundle.policies)
    if request.report is not None:
        title = f"Functional test of {bundle.name} against {policy.title} {policy.version}"
        write_whole(request.report, _REPORTS[request.report.suffix](title, report))
    texts = {c.id: c.text for c in cases} if request.texts else {}
    passed = request.minimum is None or report.reaches(request.minimum)
    if as_json:
        facts = {"policy": policy.digest, "bundle": bundle.digest, "same_policy": same, "passed": passed}
        failed = {i: texts[i] for i in report.overall.failed} if request.texts else {}
        print_json({**facts, **report.model_dump(mode="json"), **({"texts": failed} if request.texts else {})})
    else:
        _print(report, same, texts)
        if request.minimum is not None:
            reached = "reached" if passed else "NOT reached; a case without a verdict counts as not correct"
            console().print(f"minimum accuracy of {request.minimum:g}: {reached}")
    if not passed:
        sys.exit(EXIT_BELOW_MINIMUM)


def _check(request: PolicyTestRequest) -> None:
    if request.cases is not None and request.hatecheck is not None:
        raise ConfigError("cases are given twice", where="--cases and --hatecheck", remedy="leave one of them out")
    if request.report is not None and request.report.suffix not in _REPORTS:
        raise ConfigError(f"{request.report.name!r} is no report", where="--out", remedy="name a file .html or .md")


def _cases(request: PolicyTestRequest, policy: Policy) -> tuple[FunctionalCase, ...]:
    if request.hatecheck is not None:
        return read_hatecheck_cases(request.hatecheck)
    if request.cases is not None:
        return read_functional_cases(request.cases)
    return made_cases(policy, request.policy, request.limit, request.seed)


def _judge(request: PolicyTestRequest, bundle: Node, cases: Sequence[FunctionalCase]) -> list[Verdict]:
    with open_judge(bundle, any_judge=request.any_judge) as judge:
        return judge.judge([case.item for case in cases])


def _row(result: FunctionResult) -> tuple[str, ...]:
    counts = (str(result.cases), str(result.violations), str(result.unjudged))
    return (result.function, *counts, _accuracy(result))


def _accuracy(result: FunctionResult) -> str:
    return "-" if math.isnan(result.accuracy.point) else with_interval(result.accuracy)


def _print(report: FunctionalReport, same: bool, texts: dict[str, str]) -> None:
    out = console()
    if not same:
        out.print("the bundle was made for another version of this policy", soft_wrap=True)
    shown = table(*_HEADINGS)
    for result in (*report.functions, report.overall):
        shown.add_row(*[escape(cell) for cell in _row(result)])
    out.print(shown)
    out.print(f"\n{count(len(report.overall.failed), 'wrong verdict')}, {report.overall.unjudged:,} without a verdict")
    for result in report.functions:
        for case in result.failed:
            text = f"  {texts[case]!r}" if case in texts else ""
            out.print(f"{result.function}  {case}{text}", markup=False, soft_wrap=True)


def _markdown(title: str, report: FunctionalReport) -> str:
    lines = [f"# {title}", "", "| " + " | ".join(_HEADINGS) + " |", "| --- |" + " ---: |" * (len(_HEADINGS) - 1)]
    lines += ["| " + " | ".join(_row(result)) + " |" for result in (*report.functions, report.overall)]
    lines += ["", "## Wrong verdicts", ""]
    lines += [f"- {r.function}: {', '.join(r.failed)}" for r in report.functions if r.failed] or ["None."]
    return "\n".join(lines) + "\n"


def _html(title: str, report: FunctionalReport) -> str:
    head = "".join(f"<th>{escape_html(h)}</th>" for h in _HEADINGS)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape_html(cell)}</td>" for cell in _row(result)) + "</tr>"
        for result in (*report.functions, report.overall)
    )
    wrong = "".join(
        f"<li>{escape_html(r.function)}: {escape_html(', '.join(r.failed))}</li>" for r in report.functions if r.failed
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape_html(title)}</title>'
        "<style>body{font-family:system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse}th,td{padding:.3rem .8rem;border-bottom:1px solid #ccc;text-align:right}"
        "th:first-child,td:first-child{text-align:left}li{overflow-wrap:anywhere}</style>"
        f"<h1>{escape_html(title)}</h1><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"<h2>Wrong verdicts</h2><ul>{wrong or '<li>None.</li>'}</ul></html>\n"
    )


_REPORTS: dict[str, Callable[[str, FunctionalReport], str]] = {".md": _markdown, ".html": _html}
