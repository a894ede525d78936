"""Policies that come with the project are sound; a policy that contradicts itself says where."""

from __future__ import annotations

import pytest

from promptopt.errors import PolicyError
from promptopt.policy.contradictions import contradictions
from promptopt.policy.model import Policy
from promptopt.policy.reader import read_policy


def test_the_shipped_policies_are_read(shipped):
    policies = {path.stem: read_policy(path) for path in shipped}
    assert set(policies) >= {"abuse", "political", "self_harm", "sexual", "violence"}
    for name, policy in policies.items():
        assert policy.domain == name
        assert 6 <= len(policy.clauses) <= 12
        assert {c.severity for c in policy.violating} <= {1, 2, 3, 4}
        assert len(policy.boundary_examples) >= 4
        assert policy.permitting, "every policy has contexts that permit"
    assert len({policy.digest for policy in policies.values()}) == len(policies)


def test_a_policy_goes_by_its_content_and_not_by_its_layout(write_policy, policy, data):
    path = write_policy()
    assert read_policy(path).digest == policy.digest
    path.write_text("# another layout\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert read_policy(path).digest == policy.digest
    data["clauses"][0]["definition"] += " Or so."
    assert Policy.model_validate(data).digest != policy.digest


def _without_last_rule(p):
    p["routing"].pop()


def _rule_after_the_last(p):
    p["routing"].insert(0, {"id": "R0", "when": {}, "then": "allowed"})


def _twice_the_same_condition(p):
    p["routing"].insert(2, {"id": "R2b", "when": {"all": ["V1"], "none": ["V4"]}, "then": "allowed"})


def _condition_that_never_holds(p):
    p["routing"].insert(0, {"id": "R0", "when": {"all": ["V3"], "none": ["V3"]}, "then": "violation"})


def _lifted_zero_tolerance(p):
    p["routing"].insert(0, {"id": "R0", "when": {"all": ["V5"]}, "then": "allowed"})


def _set(*path, value):
    def change(p):
        *keys, last = path
        for key in keys:
            p = p[key]
        p[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("clauses", 0, "exceptions", value=["V4", "V9"]), "exceptions of V1 cites unknown clause V9"),
        (_set("routing", 1, "when", value={"any": ["V9"]}), "routing rule R2 cites unknown clause V9"),
        (_set("precedence", value=["V2", "V1", "V9"]), "precedence cites unknown clause V9"),
        (_set("boundary_examples", 1, "clause", value="V9"), "boundary example 2 cites unknown clause V9"),
        (_set("precedence", value=["V2", "V1"]), "precedence must name every violating clause once"),
        (_set("precedence", value=["V2", "V1", "V3", "V3"]), "precedence must name every violating clause once"),
        (_set("precedence", value=["V2", "V1", "V3", "V4"]), "precedence must name every violating clause once"),
        (_set("clauses", 4, "id", value="V4"), "clause ids used twice: V4"),
        (_set("routing", 2, "id", value="R1"), "routing rule ids used twice: R1"),
        (_set("clauses", 1, "exceptions", value=["V4"]), "clause V2 is zero_tolerance and cannot have exceptions"),
        (_set("clauses", 0, "exceptions", value=["V3"]), "clause V1: exception V3 is a violating clause"),
        (_set("clauses", 0, "action", value="allow"), "clause V1: action allow does not fit severity 3"),
        (_set("clauses", 3, "action", value="remove"), "clause V4: action remove does not fit severity 0"),
        (_set("clauses", 2, "severity", value=5), "in V3"),
        (_set("clauses", 2, "question", value=""), "in V3"),
        (_set("clauses", 2, "includes", value=[]), "in V3"),
        (_set("routing", 1, "then", value="maybe"), "in R2"),
        (_set("clauses", 0, "id", value="first"), "`clauses.0.id`"),
        (_set("sumary", value="s"), "unknown key `sumary`"),
        (_set("domain", value="Two Words"), "`domain`"),
        (_set("schema_version", value=2), "`schema_version`"),
        (_without_last_rule, "routing must end with a rule whose `when` is empty, not R3"),
        (_rule_after_the_last, "routing rule R0 always holds, so no rule after it can be reached"),
        (_twice_the_same_condition, "routing rule R2b can never decide"),
        (_condition_that_never_holds, "routing rule R0 can never decide"),
        (_lifted_zero_tolerance, "clause V2 is zero_tolerance, but routing rule R0 can allow it"),
        (_set("routing", 2, "when", "none", value=["V5"]), "V4 is an exception of clause V3"),
        (_set("routing", 2, "when", value={"all": ["V1", "V3"]}), "clause V3 has severity 1, but the routing allows"),
        (_set("boundary_examples", 0, "clause", value="V4"), "boundary example 1 is labelled violation and cites V4"),
    ],
)
def test_a_contradiction_names_the_file_and_the_place(write_policy, change, said):
    path = write_policy(change)
    with pytest.raises(PolicyError) as caught:
        read_policy(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "correct the policy file" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (_set("clauses", 2, "severity", value=5), "severity: 5"),
        (_set("clauses", 0, "exceptions", value=["V4", "V9"]), "exceptions:"),
        (_set("precedence", value=["V2", "V1", "V3", "V3"]), "precedence:"),
        (_set("routing", 2, "id", value="R1"), "id: R1"),
        (_twice_the_same_condition, "- id: R2b"),
        (_set("boundary_examples", 0, "clause", value="V4"), "- text: on the wrong side"),
    ],
)
def test_a_fault_names_its_line(write_policy, change, key):
    path = write_policy(change)
    with pytest.raises(PolicyError) as caught:
        read_policy(path)
    number = int(str(caught.value).removeprefix(f"{path}:").split(":")[0])
    assert key in path.read_text(encoding="utf-8").splitlines()[number - 1]


def test_a_document_of_hundreds_of_pages_is_no_policy(tmp_path):
    path = tmp_path / "long.yaml"
    path.write_text("summary: >-\n" + ("  " + "word " * 20 + "\n") * 6000, encoding="utf-8")
    with pytest.raises(PolicyError, match=r"more than 524288, which line \d+ exceeds; .*divide it"):
        read_policy(path)


def test_a_policy_without_violating_clauses_is_refused(write_policy):
    def permit_everything(p):
        p["clauses"], p["precedence"], p["boundary_examples"] = p["clauses"][3:], [], []
        p["routing"] = p["routing"][-1:]

    with pytest.raises(PolicyError, match="nothing can violate the policy"):
        read_policy(write_policy(permit_everything))


def test_every_contradiction_is_counted(write_policy):
    def two_faults(p):
        _twice_the_same_condition(p)
        _set("boundary_examples", 0, "clause", value="V4")(p)

    with pytest.raises(PolicyError, match="and 1 more"):
        read_policy(write_policy(two_faults))


def test_a_sound_policy_has_no_contradictions(policy):
    assert contradictions(policy) == []
