"""``promptopt policy lint``."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promptopt.commands.output import console, count, print_json
from promptopt.config import resolve_path
from promptopt.errors import ConfigError, PolicyError
from promptopt.policy.linting.finding import Level
from promptopt.policy.linting.options import LintOptions
from promptopt.policy.linting.registry import RULES
from promptopt.policy.linting.run import LintReport, lint_policy
from promptopt.policy.linting.subject import text
from promptopt.policy.model import Policy
from promptopt.policy.reader import read_policy, read_policy_file

EXIT_FINDINGS = 1
_SHIPPED = "data/policies"
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class LintRequest:
    """What to lint, and what counts.

    Attributes:
        policies: Policy files, and folders of them; none stands for the folder `data/policies`.
        lowest: Name of the level from which findings are shown and counted.
        previous: The version that people know of the one policy, to compare ids with.
        ignore: Codes of rules to leave out.
        budget: Tokens that the definitions may take; None for the usual limit.
        max_grade: Highest school grade of a policy; None for the usual limit.
    """

    policies: Sequence[Path] = ()
    lowest: str = Level.WARNING.value
    previous: Path | None = None
    ignore: Sequence[str] = ()
    budget: int | None = None
    max_grade: float | None = None


def lint(request: LintRequest, as_json: bool) -> None:
    """Prints the findings in policy files; exit code 1 when there are any of the level or above."""
    lowest = _level(request.lowest)
    files = _files(request.policies)
    options = _options(request, files)
    reports = [lint_policy(file, options) for file in files]
    if as_json:
        print_json(_facts(reports, lowest))
    else:
        _print(reports, lowest)
    if any(report.reaching(lowest) for report in reports):
        sys.exit(EXIT_FINDINGS)


def _level(name: str) -> Level:
    try:
        return Level(name)
    except ValueError:
        known = ", ".join(Level)
        raise ConfigError(f"there is no level {name!r}", where="--min-level", remedy=f"choose from {known}") from None


def _files(given: Sequence[Path]) -> list[Path]:
    """The files to lint, each once; a folder stands for the YAML files in it."""
    found: dict[Path, None] = {}
    for path in given or [resolve_path(_SHIPPED)]:
        inside = sorted(p for p in path.iterdir() if p.suffix in _SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise PolicyError("the folder holds no .yaml file", where=path, remedy="name policy files")
        found |= dict.fromkeys(inside)
    return list(found)


def _options(request: LintRequest, files: Sequence[Path]) -> LintOptions:
    known = {rule.code for rule in RULES}
    if unknown := [code for code in request.ignore if code not in known]:
        remedy = f"choose from {min(known)} to {max(known)}, as findings name them"
        raise ConfigError(f"there is no rule {unknown[0]!r}", where="--ignore", remedy=remedy)
    limits = {"budget": request.budget, "max_grade": request.max_grade}
    return LintOptions(
        previous=None if request.previous is None else _previous(request.previous, files),
        ignore=frozenset(request.ignore),
        **{name: limit for name, limit in limits.items() if limit is not None},
    )


def _previous(path: Path, files: Sequence[Path]) -> Policy:
    if len(files) != 1:
        what = f"it is the former version of one policy, and {len(files)} are linted"
        raise ConfigError(what, where="--previous", remedy="name one POLICY")
    policy = read_policy(path)
    try:
        domain = text(read_policy_file(files[0]).data.get("domain"))
    except PolicyError:  # which the lint says itself
        domain = ""
    if domain and domain != policy.domain:
        what = f"the former version is about {policy.domain}, not {domain}"
        raise PolicyError(what, where=path, remedy="name a version of the same policy")
    return policy


def _facts(reports: Sequence[LintReport], lowest: Level) -> dict[str, Any]:
    findings = [{"file": r.path, **f.model_dump(mode="json")} for r in reports for f in r.reaching(lowest)]
    return {
        "policies": [report.path for report in reports],
        "min_level": lowest.value,
        "passed": not findings,
        "counts": {level.value: number for level, number in _counts(reports).items()},
        "findings": findings,
    }


def _print(reports: Sequence[LintReport], lowest: Level) -> None:
    out = console()
    for report in reports:
        for f in report.reaching(lowest):
            out.print(f"{report.path}:{f.line}: {f.level.value} {f.code} {f.place}: {f.reason}", **_PLAIN)
            out.print(f"    {f.remedy}", **_PLAIN)
    counts = _counts(reports)
    shown = {level: number for level, number in counts.items() if level.reaches(lowest)}
    hidden = {level: number for level, number in counts.items() if not level.reaches(lowest)}
    total = count(sum(shown.values()), "finding") if any(shown.values()) else "no findings"
    said = f"{count(len(reports), 'policy', 'policies')}, {total}{_parts(shown, ': ')}"
    out.print(f"{said}{_parts(hidden, '; not shown: ')}", **_PLAIN)


_PLAIN: dict[str, Any] = {"markup": False, "soft_wrap": True}


def _parts(counts: dict[Level, int], before: str) -> str:
    said = ", ".join(count(number, level.value) for level, number in counts.items() if number)
    return f"{before}{said}" if said else ""


def _counts(reports: Iterable[LintReport]) -> dict[Level, int]:
    total = sum((Counter(report.counts) for report in reports), Counter[Level]())
    return {level: total[level] for level in Level}
