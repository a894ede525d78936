"""Programs on content with parts: the same through DSPy and in batches, each clause reading what it is about."""

from __future__ import annotations

import pytest

from promptopt.core.case import Case
from promptopt.core.content import PartLimit
from promptopt.core.reading import WHOLE
from promptopt.policy.model import Policy
from promptopt.policy.procedure import Procedure
from promptopt.programs.program import JudgementProgram

PHOTO = {"kind": "image", "reference": "photos/7.png", "media_type": "image/png"}
CASES = [
    Case(id="1", text="you are all vermin"),
    Case(id="2", parts={"title": "a title", "comments": "you are all vermin\nTitle: hate"}),
    Case(id="3", parts={"body": "nobody reads this clause's part"}),
    Case(id="4", parts={"title": "t", "transcript": "word " * 40}),
    Case(id="5", parts={"title": "t", "photo": PHOTO}),
]


@pytest.fixture(scope="module")
def parted(policy):
    """The policy with a first clause about titles and comments, and a limit for transcripts."""
    clauses = list(policy.clauses)
    clauses[0] = clauses[0].model_copy(update={"parts": ("title", "comments")})
    limits = {"transcript": PartLimit(max_chars=20)}
    return policy.model_copy(update={"clauses": tuple(clauses), "part_limits": limits})


def test_one_by_one_equals_batched(parted, engine, shape):
    program = JudgementProgram(parted, Procedure.of(parted, shape))
    batched = program.judge(CASES, engine)
    program.bind_engine(engine)

    for case, verdict in zip(CASES, batched, strict=True):
        prediction = program(text=case.item)
        assert prediction.verdict.model_copy(update={"probability": None, "unjudged_reason": None}) == (
            verdict.model_copy(update={"probability": None, "unjudged_reason": None})
        )
        if verdict.is_judged:
            assert prediction.probability == pytest.approx(verdict.probability, abs=1e-3)
    assert [v.is_judged for v in batched] == [True, True, True, True, False]
    assert [v.truncated for v in batched] == [False, False, False, True, False]
    assert "part `photo` is an image" in batched[4].unjudged_reason


def test_lowered_prompts_carry_what_their_clause_reads(parted, policy):
    prompts = {p.question: p for p in JudgementProgram(parted, Procedure.of(parted, "checklist")).lower()}
    first, *others = parted.clauses

    assert prompts[first.id].reading.parts == ("title", "comments")
    assert all(not prompts[clause.id].reading.parts for clause in others)
    assert all(prompt.reading.limits == parted.part_limits for prompt in prompts.values())
    plain = JudgementProgram(policy, Procedure.of(policy, "checklist")).lower()
    assert all(prompt.reading == WHOLE for prompt in plain)
    assert [p.digest for p in plain] == [p.digest for p in prompts.values()]


def test_a_policy_without_parts_is_what_it_was(policy, parted):
    data = policy.model_dump(mode="json")

    assert "part_limits" not in data
    assert all("parts" not in clause for clause in data["clauses"])
    assert Policy.model_validate(parted.model_dump(mode="json")) == parted
    assert parted.digest != policy.digest
