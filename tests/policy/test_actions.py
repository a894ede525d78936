"""The overall order of actions, and the action of a verdict."""

from __future__ import annotations

import pytest

from promptopt.core.case import Label
from promptopt.core.verdict import Verdict
from promptopt.policy.actions import ACTION_ORDER, consequence, rank
from promptopt.policy.model import Action, Clause


def _clause(name: str, severity: int, action: Action) -> Clause:
    return Clause(
        id=name,
        title=name,
        severity=severity,
        definition="d",
        question="q?",
        includes=("i",),
        excludes=("e",),
        action=action,
    )


MIXED = (_clause("V1", 4, Action.REMOVE), _clause("V2", 2, Action.RESTRICT), _clause("V3", 0, Action.ALLOW))
ALIKE = (_clause("V1", 3, Action.REMOVE), _clause("V2", 2, Action.REMOVE), _clause("V3", 0, Action.ALLOW))


def _violation(clause: str | None, severity: int | None, *, escalate: bool = False) -> Verdict:
    return Verdict(label=Label.VIOLATION, probability=0.9, clause=clause, severity=severity, escalate=escalate)


def test_every_action_has_one_place():
    assert sorted(ACTION_ORDER) == sorted(Action)


def test_severity_comes_before_the_action_and_people_before_removal():
    whats = [(0, Action.ALLOW), (2, Action.REMOVE), (2, Action.ESCALATE), (3, Action.LABEL), (0, Action.ESCALATE)]
    assert sorted(whats, key=lambda what: rank(*what)) == [
        (3, Action.LABEL),
        (2, Action.ESCALATE),
        (2, Action.REMOVE),
        (0, Action.ESCALATE),
        (0, Action.ALLOW),
    ]


@pytest.mark.parametrize(
    ("verdict", "clauses", "expected"),
    [
        (_violation("V2", 2), MIXED, (2, Action.RESTRICT)),
        (_violation("V2", 2, escalate=True), MIXED, (2, Action.ESCALATE)),
        (_violation(None, None), MIXED, (4, Action.ESCALATE)),
        (_violation(None, None), ALIKE, (3, Action.REMOVE)),
        (_violation(None, None, escalate=True), ALIKE, (3, Action.ESCALATE)),
        (_violation(None, 1), ALIKE, (1, Action.REMOVE)),
        (Verdict(label=Label.ALLOWED, probability=0.1, severity=0), MIXED, (0, Action.ALLOW)),
        (Verdict(label=Label.ALLOWED, probability=0.1, severity=0, clause="V3"), MIXED, (0, Action.ALLOW)),
        (Verdict(label=Label.ALLOWED, probability=0.4, severity=0, escalate=True), MIXED, (0, Action.ESCALATE)),
        (Verdict.unjudged("text is empty"), MIXED, None),
    ],
)
def test_what_a_verdict_stands_for(verdict, clauses, expected):
    assert consequence(verdict, clauses) == expected
