"""The lint finds every fault that is put into a shipped policy, on its line, and none in the policies as they ship."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from promptopt.core.model import FrozenModel
from promptopt.errors import PolicyError
from promptopt.policy.linting.finding import Level
from promptopt.policy.linting.options import LintOptions
from promptopt.policy.linting.registry import RULES
from promptopt.policy.linting.run import lint_policy
from promptopt.policy.reader import read_policy

POLICIES = Path(__file__).resolve().parents[3] / "data" / "policies"
TABLE = Path(__file__).with_name("seeded_faults.yaml")
ELSEWHERE = {"PL107", "PL210", "PL390"}  # no small edit makes them; see test_lint_policy.py


class Edit(FrozenModel):
    old: str
    new: str
    times: int = 1


class Fault(FrozenModel):
    """A row of seeded_faults.yaml, which says what its keys mean."""

    fault: str
    rule: str
    policy: str
    edits: tuple[Edit, ...]
    at: str | int = "# here"
    also: frozenset[str] = frozenset()
    previous: bool = False

    @property
    def source(self) -> Path:
        return POLICIES / f"{self.policy}.yaml"

    def seeded(self) -> str:
        text = self.source.read_text(encoding="utf-8")
        for edit in self.edits:
            assert text.count(edit.old) == 1, f"{self.source.name} has {edit.old!r} {text.count(edit.old)} times"
            text = text.replace(edit.old, edit.new * edit.times)
        return text

    def line(self, text: str) -> int:
        if isinstance(self.at, int):
            return self.at
        (line,) = (number for number, said in enumerate(text.split("\n"), start=1) if self.at in said)
        return line


FAULTS = [Fault.model_validate(row) for row in yaml.safe_load(TABLE.read_text(encoding="utf-8"))]


def _codes(report):
    return {finding.code for finding in report.findings}


def _is_refused(path):
    try:
        read_policy(path)
    except PolicyError:
        return True
    return False


@pytest.fixture(params=FAULTS, ids=[f"{fault.rule}-{fault.fault.replace(' ', '_')}" for fault in FAULTS])
def seeded(request, tmp_path):
    """A fault, and the file with it in."""
    path = tmp_path / "policy.yaml"
    path.write_text(request.param.seeded(), encoding="utf-8")
    return request.param, path


def test_every_seeded_fault_is_found_on_its_line(seeded):
    fault, path = seeded
    previous = read_policy(fault.source) if fault.previous else None
    report = lint_policy(path, LintOptions(previous=previous))
    line = fault.line(path.read_text(encoding="utf-8"))
    assert line in {f.line for f in report.findings if f.code == fault.rule}, report.findings
    assert _codes(report) <= {fault.rule, *fault.also}
    assert all(f.reason and f.remedy and f.place for f in report.findings)
    assert report.counts[Level.ERROR] or not _is_refused(path)


def test_the_table_has_a_fault_for_every_rule():
    assert {fault.rule for fault in FAULTS} | ELSEWHERE == {rule.code for rule in RULES}
    assert len({(f.policy, f.edits) for f in FAULTS}) == len({f.fault for f in FAULTS}) == len(FAULTS) >= 30


@pytest.mark.parametrize("path", sorted(POLICIES.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_policies_have_no_findings(path):
    assert lint_policy(path).findings == ()
