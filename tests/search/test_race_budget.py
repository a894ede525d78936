"""A race takes what the budget carries: the first block of its field, and every case for its finalists."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.core.candidate import Candidate
from promptopt.search.config import BudgetConfig
from promptopt.search.race_budget import RaceBudget
from promptopt.search.racing import FieldConfig
from promptopt.search.study import TrialRecord

FIRST, CASES = 10, 100


def _budget(questions=1, finalists=2, field=20, share=0.3, **limits):
    maker = SimpleNamespace(most_questions=questions, questions=lambda candidate: candidate.choices["questions"])
    budget = BudgetConfig.model_validate({"trials": None, **limits})
    return RaceBudget(budget, FieldConfig(field=field, budget=share), finalists, maker, (FIRST, CASES))


def _records(*judged, questions=1, repeats=0):
    """Trials judged on so many cases, and some that repeat the first."""
    numbers = [*enumerate([*judged, *[judged[0]] * repeats])]
    return [
        TrialRecord(
            number=number,
            candidate=Candidate(choices={"number": number, "questions": questions}),
            complete=cases == CASES,
            values=(0.5,),
            rungs=(0.5,),
            cases=cases,
            unjudged=0,
            repeats=0 if number >= len(judged) else None,
        )
        for number, cases in numbers
    ]


@pytest.mark.parametrize(
    ("limits", "records", "size"),
    [
        ({}, (), 20),
        ({"trials": 7}, (), 7),
        ({"trials": 7}, (100, 10, 10), 4),
        ({"judge_calls": 1000}, (), 20),
        ({"judge_calls": 300}, (), 12),  # two finalists' 90 further cases leave 120, ten for each candidate
        ({"judge_calls": 300}, (100, 10), 1),
        ({"judge_calls": 300, "trials": 5}, (), 5),
        ({"judge_calls": 100}, (100,), 0),
    ],
)
def test_a_field_is_as_large_as_trials_and_judgements_allow(limits, records, size):
    assert max(0, _budget(**limits).field_size(_records(*records) if records else [])) == size


def test_what_was_tried_twice_was_paid_once():
    budget = _budget(judge_calls=400)
    assert budget.field_size(_records(100, repeats=3)) == budget.field_size(_records(100))


def test_questions_multiply_what_a_case_costs():
    assert _budget(questions=3, judge_calls=900).field_size([]) == _budget(judge_calls=300).field_size([])
    assert _budget(judge_calls=600).field_size(_records(100, questions=3)) == _budget(judge_calls=300).field_size([])


def _allowance(costs, records=(), **settings):
    return round(_budget(**settings).rule_of_race(costs, records).budget * sum(costs) * CASES - 0.5)


def test_a_race_may_spend_its_share_and_what_its_finalists_need():
    assert _allowance([1] * 20) == 600
    assert _allowance([1] * 20, share=0.1) == 20 * FIRST + 2 * (CASES - FIRST)
    assert _allowance([1] * 20, share=0.1, finalists=3) == 20 * FIRST + 3 * (CASES - FIRST)
    assert _allowance([5, 1, 1, 1], share=0.1) == 8 * FIRST + 6 * (CASES - FIRST)


def test_a_race_spends_no_more_than_is_left():
    assert _allowance([1] * 20, judge_calls=500) == 500
    assert _allowance([1] * 20, _records(100, 10), judge_calls=500) == 390


@given(
    costs=st.lists(st.integers(1, 6), min_size=1, max_size=30),
    calls=st.integers(1, 5000),
    share=st.floats(0.01, 1.0),
    finalists=st.integers(2, 5),
)
def test_the_finalists_are_always_carried(costs, calls, share, finalists):
    rule = _budget(finalists=finalists, share=share, judge_calls=calls).rule_of_race(costs, [])
    dearest = sum(sorted(costs)[-finalists:])
    needed = min(sum(costs) * CASES, sum(costs) * FIRST + dearest * (CASES - FIRST))
    assert 0 < rule.budget <= 1
    assert int(rule.budget * sum(costs) * CASES + 1e-9) >= needed
