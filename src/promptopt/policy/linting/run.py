"""Lints a policy file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from promptopt.core.model import FrozenModel
from promptopt.core.yaml_file import explain_validation
from promptopt.errors import PolicyError
from promptopt.policy.linting.checks.shape import BAD_VALUE
from promptopt.policy.linting.checks.wording import UNFINISHED
from promptopt.policy.linting.finding import Finding, Level
from promptopt.policy.linting.options import LintOptions
from promptopt.policy.linting.registry import CHECKS, ENGLISH_ONLY, UNREADABLE
from promptopt.policy.linting.subject import Subject
from promptopt.policy.reader import fault_place, read_policy_file


class LintReport(FrozenModel):
    """What a lint found in one file.

    Attributes:
        path: The file.
        findings: By line.
    """

    path: str
    findings: tuple[Finding, ...]

    @property
    def counts(self) -> dict[Level, int]:
        """Findings of each level."""
        counted = Counter(finding.level for finding in self.findings)
        return {level: counted[level] for level in Level}

    def reaching(self, lowest: Level) -> tuple[Finding, ...]:
        """The findings of a level and above."""
        return tuple(finding for finding in self.findings if finding.level.reaches(lowest))


_DEFAULT = LintOptions()


def lint_policy(path: Path, options: LintOptions = _DEFAULT) -> LintReport:
    """Finds the faults of a policy file, all at once; the file need not be a policy that can be read.

    Args:
        path: A YAML file.
        options: Limits, the previous version, and rules to leave out.

    Returns:
        The findings by line. A file without errors is one that `read_policy` reads.

    Raises:
        PolicyError: The file does not exist, or may not be read.
    """
    try:
        subject = Subject.of(read_policy_file(path))
    except PolicyError as fault:
        if not path.is_file() or isinstance(fault.__cause__, OSError):
            raise
        return LintReport(path=str(path), findings=(_unreadable(fault, path),))
    found = list(_found(subject, options))
    # What the author has not written yet has no other faults.
    marks = set() if UNFINISHED.code in options.ignore else {UNFINISHED.code}
    unwritten = {finding.line for finding in found if finding.code in marks}
    kept = (f for f in found if f.code in marks or f.line not in unwritten)
    shown = {finding: None for finding in kept if finding.code not in options.ignore}
    return LintReport(path=str(path), findings=tuple(sorted(shown, key=lambda f: (f.line, f.code))))


def _unreadable(fault: PolicyError, path: Path) -> Finding:
    line = (fault.where or "").removeprefix(f"{path}:")
    return UNREADABLE.on_line(int(line) if line.isdigit() else 1, "file", fault.what, fault.remedy)


def _found(subject: Subject, options: LintOptions) -> Iterator[Finding]:
    errors = 0
    for group in CHECKS:
        if group.english and not subject.is_english:
            continue
        for finding in group.check(subject, options):
            errors += finding.level is Level.ERROR
            yield finding
    if not subject.is_english:
        yield ENGLISH_ONLY.at(subject, ("language",), f"the policy is in {subject.text('language')!r}")
    if subject.fault is not None and not errors:
        # The language refuses something that no check of its own looks for.
        place = fault_place(subject.fault.errors()[0])
        yield BAD_VALUE.at(subject, place, explain_validation(subject.fault))
