"""The inversion of a policy on one clause is a sound policy that differs in that clause alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptopt.core.case import Label
from promptopt.errors import PolicyError
from promptopt.policy.contradictions import contradictions
from promptopt.policy.functional.implied import implied_verdict
from promptopt.policy.inversion import invert
from promptopt.policy.reader import read_policy

FOLDER = Path(__file__).resolve().parents[2] / "data" / "policies"
SHIPPED = [read_policy(path) for path in sorted(FOLDER.glob("*.yaml"))]


@pytest.mark.parametrize("policy", SHIPPED, ids=lambda policy: policy.domain)
def test_only_the_inverted_clause_changes_sides(policy):
    for clause in policy.violating:
        inverted = invert(policy, clause.id)
        assert contradictions(inverted) == []
        assert inverted.digest != policy.digest
        for other in policy.clauses:
            expected = Label.ALLOWED if other.id == clause.id else implied_verdict(policy, {other.id}).label
            assert implied_verdict(inverted, {other.id}).label is expected
        still = next(c.id for c in policy.violating if c.id != clause.id)
        assert implied_verdict(inverted, {clause.id, still}).label is Label.VIOLATION


def test_only_a_violating_clause_is_inverted():
    with pytest.raises(PolicyError, match="A9 is no violating clause"):
        invert(next(p for p in SHIPPED if p.domain == "abuse"), "A9")
