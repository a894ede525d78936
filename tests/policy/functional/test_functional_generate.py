"""Functional cases carry the verdict that the routing implies, whatever the policy says."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptopt.core.case import Label
from promptopt.policy.functional.generate import functional_cases, limited
from promptopt.policy.functional.implied import implied_verdict
from promptopt.policy.model import Policy
from promptopt.policy.reader import read_policy

POLICIES = sorted((Path(__file__).resolve().parents[3] / "data" / "policies").glob("*.yaml"))
ABUSE = next(path for path in POLICIES if path.stem == "abuse")


@pytest.fixture
def abuse():
    return read_policy(ABUSE)


def _changed(policy, **changes):
    return Policy.model_validate({**policy.model_dump(mode="json"), **changes})


@pytest.fixture
def with_template(abuse):
    template = {
        "clause": "A2",
        "text": "{group} must not be let into {place}.",
        "slots": {"group": ["immigrants", "Buddhists"], "place": ["our shops", "this school"]},
        "controls": {"group": ["dogs"]},
    }
    return _changed(abuse, templates=[template])


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.stem)
def test_shipped_policies_give_distinct_repeatable_cases(path):
    policy = read_policy(path)
    cases = functional_cases(policy, seed=3)
    assert cases == functional_cases(policy, seed=3)
    assert len({c.id for c in cases}) == len({c.text for c in cases}) == len(cases) >= 40
    ids = {c.id for c in cases}
    assert all(c.base in ids for c in cases if c.base is not None)
    assert all(c.is_violation == (c.severity > 0) for c in cases)
    assert all(policy.by_id[c.clause].is_violating == c.is_violation for c in cases if c.clause)
    functions = {c.function.split(":")[0] for c in cases}
    assert functions >= {"clause", "contrast", "exception", "zero_tolerance", "obfuscation"}


def test_exceptions_are_allowed_and_zero_tolerance_is_not(abuse):
    for case in functional_cases(abuse):
        if case.function.startswith("exception:"):
            assert (case.label, case.clause) == (Label.ALLOWED, case.function.split(":")[1])
        if case.function.startswith(("zero_tolerance:", "obfuscation:")):
            assert case.label is Label.VIOLATION


def test_labels_follow_the_routing_and_not_the_kind_of_case(abuse):
    strict = abuse.model_dump(mode="json")["routing"]
    for rule in strict:  # A9 lifts nothing any more
        rule["when"]["none"] = [clause for clause in rule["when"]["none"] if clause != "A9"]
    cases = [c for c in functional_cases(_changed(abuse, routing=strict)) if c.function == "exception:A9"]
    assert cases
    assert {c.label for c in cases} == {Label.VIOLATION}


def test_contrast_halves_share_a_pair_and_a_group(abuse):
    cases = functional_cases(abuse)
    (allowed,) = [c for c in cases if c.function == "contrast:A8"]
    (violation,) = [c for c in cases if c.function == "clause:A8/plain"]
    assert allowed.pair == violation.pair is not None
    assert allowed.group == violation.group
    assert not allowed.is_violation


def test_templates_fill_every_slot_and_controls_flip_the_verdict(with_template):
    cases = functional_cases(with_template)
    plain = [c for c in cases if c.function == "clause:A2/plain"]
    assert [c.text for c in plain] == [
        "Immigrants must not be let into our shops.",
        "Immigrants must not be let into this school.",
        "Buddhists must not be let into our shops.",
        "Buddhists must not be let into this school.",
    ]
    (edit,) = [c for c in cases if c.function == "minimal_edit:A2"]
    assert (edit.text, edit.label, edit.base) == ("Dogs must not be let into our shops.", Label.ALLOWED, plain[0].id)


def test_a_limit_takes_from_every_function(abuse):
    cases = functional_cases(abuse)
    functions = {c.function for c in cases}
    kept = limited(cases, len(functions), seed=0)
    assert {c.function for c in kept} == functions
    assert limited(cases, 10_000, seed=0) == cases
    with pytest.raises(ValueError, match="at least 1"):
        limited(cases, 0, seed=0)


def test_the_seed_changes_obfuscations_only(abuse):
    one, two = functional_cases(abuse, seed=0), functional_cases(abuse, seed=1)
    changed = {c.function for c in set(one) ^ set(two)}
    assert changed
    assert all(name.startswith("obfuscation:") for name in changed)


def test_implied_verdict_cites_by_precedence_what_the_rule_names(abuse):
    assert implied_verdict(abuse, {"A5", "A1"}).clause == "A1"
    assert implied_verdict(abuse, {"A1", "A9"}).label is Label.ALLOWED
    assert implied_verdict(abuse, {"A8", "A9"}).clause == "A8"
    assert implied_verdict(abuse, ()).rule == "R4"
    # A11 lifts A1 but not A4, so the violation cites A4
    assert implied_verdict(abuse, {"A1", "A4", "A11"}).clause == "A4"


def test_a_policy_without_templates_keeps_its_digest(abuse, with_template):
    bare = abuse.model_dump(mode="json")
    del bare["templates"]
    assert "templates" not in Policy.model_validate(bare).model_dump(mode="json")
    assert Policy.model_validate(bare).digest == _changed(abuse, templates=[]).digest
    assert len({Policy.model_validate(bare).digest, abuse.digest, with_template.digest}) == 3


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"clause": "A1", "text": "{who} here"}, "the text has slots"),
        ({"clause": "A1", "text": "here", "controls": {"who": ["x"]}}, "does not have"),
        ({"clause": "A1", "text": "{who}", "slots": {"who": []}}, "nothing fills"),
        ({"clause": "A99", "text": "here"}, "template 1 cites unknown clause A99"),
    ],
)
def test_faulty_templates_are_refused(abuse, template, message):
    with pytest.raises(ValueError, match=message):
        _changed(abuse, templates=[template])
