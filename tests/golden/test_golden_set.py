"""A golden set knows its splits, its digest and the rules its labels must keep."""

from __future__ import annotations

import random

import pytest
from pydantic import ValidationError

from promptopt.core.case import Split
from promptopt.errors import GoldenSetError
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.splits import assign_splits


@pytest.fixture
def golden(toy_cases):
    return GoldenSet(name="toy", domain="toy", cases=assign_splits(toy_cases))


def changed(golden, position, **update):
    cases = list(golden.cases)
    cases[position] = cases[position].model_copy(update=update)
    return golden.model_copy(update={"cases": tuple(cases)})


def fresh(golden):
    return GoldenSet(name=golden.name, domain=golden.domain, cases=golden.cases)


def test_digest_ignores_order_and_sees_what_matters(golden):
    shuffled = list(golden.cases)
    random.Random(0).shuffle(shuffled)
    assert GoldenSet(name="other", domain="toy", cases=shuffled).digest == golden.digest
    other_split = next(s for s in Split if s is not golden.cases[0].split)
    for update in ({"id": "z"}, {"text": "z"}, {"label": "allowed"}, {"clause": "X2"}, {"split": other_split}):
        assert fresh(changed(golden, 0, **update)).digest != golden.digest


def test_splits_are_disjoint_and_complete(golden):
    ids = [case.id for split in Split for case in golden.split(split)]
    assert sorted(ids) == sorted(golden.by_id)


def test_ids_are_unique(toy_cases):
    with pytest.raises(ValidationError, match="case ids used twice: c000"):
        GoldenSet(name="toy", domain="toy", cases=[*toy_cases, toy_cases[0]])


def test_a_set_that_keeps_the_policy_passes(golden, toy_policy):
    golden.check_against(toy_policy)


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        ({"clause": "X9"}, r"case c000 cites clause X9, which the policy does not define; known: X1, X2, X3"),
        ({"clause": "X3", "severity": 0}, "case c000 is labelled violation and cites clause X3 of severity 0"),
        ({"severity": 4}, "case c000 has severity 4, its clause X1 has 2"),
        ({"split": None}, "1 cases have no split, the first is c000"),
    ],
)
def test_a_case_that_breaks_the_policy_is_named(golden, toy_policy, update, expected):
    with pytest.raises(GoldenSetError, match=expected):
        changed(golden, 0, **update).check_against(toy_policy)


def test_an_allowed_case_cannot_cite_a_violating_clause(golden, toy_policy):
    with pytest.raises(GoldenSetError, match="case c001 is labelled allowed and cites clause X1"):
        changed(golden, 1, clause="X1").check_against(toy_policy)


def test_a_violation_may_cite_nothing(golden, toy_policy):
    changed(golden, 0, clause=None).check_against(toy_policy)


def test_another_domain_is_refused(golden, toy_policy):
    with pytest.raises(GoldenSetError, match="domain other, the policy of toy"):
        golden.model_copy(update={"domain": "other"}).check_against(toy_policy)


def test_a_split_without_violations_is_refused(golden, toy_policy):
    kept = tuple(c for c in golden.cases if not (c.split is Split.TEST and c.is_violation))
    with pytest.raises(GoldenSetError, match=r"split test has \d+ cases and no violation"):
        golden.model_copy(update={"cases": kept}).check_against(toy_policy)
