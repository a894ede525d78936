"""A place that its author has not written yet has that one fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptopt.policy.linting.options import LintOptions
from promptopt.policy.linting.run import lint_policy

VIOLENCE = Path(__file__).resolve().parents[3] / "data" / "policies" / "violence.yaml"


@pytest.fixture
def draft(tmp_path):
    text = VIOLENCE.read_text(encoding="utf-8").replace("severity: 2\n", "severity: FILL IN\n", 1)
    path = tmp_path / "draft.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def _codes(path, **options):
    report = lint_policy(path, LintOptions(**options))
    return [finding.code for finding in report.findings if finding.level == "error"]


def test_a_mark_is_one_error(draft):
    assert _codes(draft) == ["PL303"]


def test_a_mark_that_is_not_looked_for_hides_nothing(draft):
    assert _codes(draft, ignore=frozenset({"PL303"})) == ["PL004"]
