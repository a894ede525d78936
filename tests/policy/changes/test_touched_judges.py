"""Which exported judges a change touches: by what they read, what they do not know, and what they decide by."""

from __future__ import annotations

import copy

import pytest

from promptopt.policy.changes.diff import PolicyPair
from promptopt.policy.changes.judges import JudgeInUse, MadeFrom
from promptopt.policy.model import Policy
from promptopt.policy.procedure import Procedure
from promptopt.policy.rendering import render_policy


@pytest.fixture
def judge(policy):
    def make(shape="checklist", rendering="criteria", made_from=policy, domain="demo"):
        return JudgeInUse(
            name="mine",
            domain=domain,
            policy_version=made_from.version,
            policy_digest=made_from.digest,
            prompts=render_policy(made_from, rendering),
            procedure=Procedure.of(made_from, shape),
        )

    return make


@pytest.fixture
def touched(policy, data):
    def run(found, change):
        bent = copy.deepcopy(data)
        change(bent)
        (judge,) = PolicyPair(policy, Policy.model_validate(bent)).diff(judges=[found]).judges
        return judge

    return run


def _define(data):
    data["clauses"][0]["definition"] = "Something else altogether."


def test_a_judge_that_reads_the_former_text_is_touched(judge, touched):
    found = touched(judge(), _define)
    assert (found.made_from, found.reads, found.decides, found.is_touched) == (MadeFrom.FORMER, ("V1",), (), True)
    assert not touched(judge(rendering="titles"), _define).is_touched


def test_an_item_more_touches_a_judge_that_reads_the_list(judge, touched):
    def change(data):
        data["clauses"][0]["includes"] = ["inside V1", "beside V1"]

    assert touched(judge(), change).reads == ("V1",)
    assert not touched(judge(rendering="definitions"), change).is_touched


def test_rules_touch_checklists_only(judge, touched):
    def change(data):
        data["routing"][1]["then"] = "escalate"

    assert touched(judge("checklist"), change).decides == ("R2",)
    assert not touched(judge("direct"), change).is_touched


def test_severity_touches_both(judge, touched):
    def change(data):
        data["clauses"][0]["severity"] = 4

    for shape in ("checklist", "direct"):
        assert touched(judge(shape, "none"), change).decides == ("V1",)


def test_a_new_clause_is_one_that_the_judge_does_not_know(judge, touched, clause):
    def change(data):
        data["clauses"].append(clause("V6", 0))

    found = touched(judge("direct"), change)
    assert (found.lacks, found.reads, found.is_touched) == (("V6",), (), True)


def test_a_judge_of_the_present_policy_is_not_touched(policy, data, judge):
    _define(data)
    new = Policy.model_validate(data)
    (found,) = PolicyPair(policy, new).diff(judges=[judge(made_from=new)]).judges
    assert (found.made_from, found.is_touched) == (MadeFrom.PRESENT, False)


def test_judges_of_other_domains_are_left_out(policy, judge):
    assert PolicyPair(policy, policy).diff(judges=[judge(domain="other")]).judges == ()
