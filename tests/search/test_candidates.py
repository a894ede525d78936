"""Points that come to the same prompt are one candidate; a candidate always means the same prompt."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt.core.case import Split
from promptopt.errors import ConfigError, PolicyError
from promptopt.policy.model import Policy
from promptopt.search.candidates import CandidateMaker


@pytest.fixture(scope="session")
def maker(policy, make_space, golden):
    return CandidateMaker(policy, make_space(), golden.split(Split.SEARCH)[:12])


@pytest.fixture(scope="session")
def points(make_space):
    dimensions = make_space().dimensions
    return [dict(zip(dimensions, choices, strict=True)) for choices in product(*dimensions.values())]


def _meaning(program):
    return (program.lower(), program.procedure)


def test_one_candidate_for_one_prompt_and_procedure(maker, points):
    """Over the whole space: as many candidates as there are different prompts with different procedures."""
    meanings = {}
    for point in points[::3]:
        candidate = maker.candidate(point)
        meaning = _meaning(maker.program(candidate))
        assert meanings.setdefault(candidate.digest, meaning) == meaning
    distinct = {repr(meaning) for meaning in meanings.values()}
    assert len(distinct) == len(meanings) < len(points[::3])


BASE = {
    "shape": "direct",
    "aggregate": "routing",
    "policy": "summary",
    "instruction": "plain",
    "labels": "bad_good",
    "quoting": "quotes",
    "placement": "item_first",
    "demo_count": 0,
    "demo_choice": "balanced",
    "demo_order": "alternating",
    "demo_draw": 0,
}


@pytest.mark.parametrize(
    ("base", "change"),
    [
        ({}, {"demo_choice": "contrast"}),
        ({}, {"demo_draw": 1}),
        ({}, {"aggregate": "strongest"}),
        ({"shape": "checklist"}, {"labels": "yes_no"}),
    ],
)
def test_choices_without_effect_do_not_make_another_candidate(maker, base, change):
    assert maker.candidate(BASE | base) == maker.candidate(BASE | base | change)


@pytest.mark.parametrize(
    ("base", "change"),
    [
        ({}, {"demo_count": 2}),
        ({}, {"labels": "yes_no"}),
        ({}, {"quoting": "tags"}),
        ({}, {"policy": "none"}),
        ({"shape": "checklist"}, {"aggregate": "strongest"}),
        ({"shape": "checklist"}, {"placement": "question_first"}),
        ({"demo_count": 2}, {"demo_draw": 1}),
    ],
)
def test_choices_with_effect_do(maker, base, change):
    assert maker.candidate(BASE | base) != maker.candidate(BASE | base | change)


def test_texts_that_come_out_alike_are_one(policy, make_space, golden):
    instructions = {"a": "Apply {title}.", "b": "Apply Toy.", "c": " Apply Toy.\n"}
    space = make_space(instructions=instructions, policies=["criteria", "full"], seed={})
    bare = policy.model_copy(update={"summary": ""})
    maker = CandidateMaker(bare, space, golden.split(Split.SEARCH)[:12])
    base = BASE | {"policy": "full", "instruction": "c"}
    assert maker.candidate(base).choices["instruction"] == "a"
    assert maker.candidate(base).choices["policy"] == "criteria"


def test_a_program_is_what_its_candidate_says(maker, policy):
    (prompt,) = maker.program(maker.candidate(BASE | {"quoting": "tags", "demo_count": 2})).lower()
    messages = prompt.messages("ITEM")
    assert messages[0]["content"] == f"Apply Toy.\n\nPolicy: Toy\n{policy.summary}"
    assert messages[-1]["content"].startswith("<text>\nITEM\n</text>")
    assert prompt.labels == ("bad", "good")
    assert [m["content"] for m in messages if m["role"] == "assistant"] == ["bad", "good"]
    none = maker.program(maker.candidate(BASE | {"policy": "none"})).lower()[0]
    assert none.messages()[0]["content"] == "Apply Toy."


def test_a_checklists_demonstrations_answer_clause_questions(maker, policy):
    candidate = maker.candidate(BASE | {"shape": "checklist", "demo_count": 2})
    prompt = maker.program(candidate).lower()[0]
    violating, allowed = prompt.messages()[1], prompt.messages()[3]
    shown = {case.id: case for case in maker._pool.values()}
    clause = policy.by_id[shown[candidate.demos[0]].clause]
    assert clause.question in violating["content"]
    assert any(c.question in allowed["content"] for c in policy.violating)
    assert [m["content"] for m in prompt.messages() if m["role"] == "assistant"] == ["yes", "no"]


def test_a_violation_without_a_clause_answers_the_direct_question(policy, make_space, make_case):
    pool = [make_case(0, True, clause=None), make_case(1, False)]
    maker = CandidateMaker(policy, make_space(), pool)
    prompt = maker.program(maker.candidate(BASE | {"shape": "checklist", "demo_count": 2})).lower()[0]
    assert policy.question in prompt.messages()[1]["content"]


def test_questions_are_counted(maker):
    assert maker.questions(maker.candidate(BASE)) == 1
    assert maker.questions(maker.candidate(BASE | {"shape": "checklist"})) == 3


def test_demonstrations_come_from_the_pool_only(maker, golden):
    ids = {case.id for case in golden.split(Split.SEARCH)[:12]}
    for draw, choice in product(range(2), ["balanced", "contrast"]):
        candidate = maker.candidate(BASE | {"demo_count": 2, "demo_draw": draw, "demo_choice": choice})
        assert set(candidate.demos) <= ids
        assert len(candidate.demos) == 2


@given(st.data())
def test_candidates_do_not_depend_on_the_order_of_the_pool(policy, make_space, golden, data):
    pool = golden.split(Split.SEARCH)[:12]
    shuffled = data.draw(st.permutations(pool))
    point = BASE | {"demo_count": 2, "demo_draw": data.draw(st.integers(0, 1))}
    first, second = (CandidateMaker(policy, make_space(), cases) for cases in (pool, shuffled))
    assert first.candidate(point) == second.candidate(point)


def test_a_shape_that_the_policy_does_not_fit_is_refused_at_once(policy, make_space, golden):
    data = policy.model_dump(mode="json")
    data["clauses"] += [{**data["clauses"][2], "id": f"X{i}"} for i in range(20)]
    large = Policy.model_validate(data)
    with pytest.raises(PolicyError, match="has 23 clauses"):
        CandidateMaker(large, make_space(), golden.split(Split.SEARCH))
    CandidateMaker(large, make_space(shapes=["direct"]), golden.split(Split.SEARCH))


def test_a_written_text_takes_the_place_of_the_choice(maker, policy):
    candidate = maker.candidate(BASE, {"instruction": "Read it twice.", "policy": "No hate at all."})
    assert candidate.texts == {"instruction": "Read it twice.", "policy": "No hate at all."}
    assert maker.program(candidate).lower()[0].messages()[0]["content"] == "Read it twice.\n\nNo hate at all."
    assert maker.texts(candidate) == candidate.texts
    assert maker.candidate(BASE, {"instruction": "Read it thrice."}) != maker.candidate(BASE)
    only = maker.candidate(BASE, {"policy": "No hate at all."})
    assert maker.texts(only) == {"instruction": "Apply Toy.", "policy": "No hate at all."}


def test_a_written_text_that_a_choice_says_is_that_choice(maker, policy):
    said = {"instruction": "Report all.", "policy": f"Policy: Toy\n{policy.summary}\n"}
    assert maker.candidate(BASE | {"policy": "full"}, said) == maker.candidate(BASE | {"instruction": "strict"})
    assert maker.candidate(BASE, {"policy": " "}) == maker.candidate(BASE | {"policy": "none"})


INSTRUCTIONS = st.sampled_from(["Apply Toy.", "Report all.", "Something else."])
POLICIES = st.sampled_from(["Policy: Toy\nNo hate, no threats.", "", "Hate nobody."])
TEXTS = st.fixed_dictionaries({}, optional={"instruction": INSTRUCTIONS, "policy": POLICIES})


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_written_or_chosen_equal_prompts_are_one_candidate(maker, make_space, data):
    """Close pairs, so that equal prompts come up often."""
    dimensions = make_space().dimensions
    first = {name: data.draw(st.sampled_from(choices)) for name, choices in dimensions.items()}
    changes = data.draw(st.sets(st.sampled_from(sorted(first)), max_size=2))
    second = first | {name: data.draw(st.sampled_from(dimensions[name])) for name in sorted(changes)}
    one, two = (maker.candidate(point, data.draw(TEXTS)) for point in (first, second))
    assert (one == two) == (_meaning(maker.program(one)) == _meaning(maker.program(two)))


def test_a_text_for_an_unknown_component_is_refused(maker):
    with pytest.raises(ConfigError, match="there is no component 'tone'; choose from instruction, policy"):
        maker.candidate(BASE, {"tone": "calm"})
    with pytest.raises(ConfigError, match="the written instruction is empty"):
        maker.candidate(BASE, {"instruction": " "})
