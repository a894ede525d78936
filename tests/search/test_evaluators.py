"""A candidate is scored by the judge that it names."""

from __future__ import annotations

import pytest

from promptopt.core.candidate import Candidate
from promptopt.engines.fake import FakeEngine
from promptopt.search.evaluation import Evaluator
from promptopt.search.evaluators import Evaluators
from promptopt.search.objective import ObjectiveConfig


def _evaluator() -> Evaluator:
    return Evaluator(None, FakeEngine(), ObjectiveConfig())


def test_a_candidate_goes_to_the_judge_that_it_names():
    small, large = _evaluator(), _evaluator()
    both = Evaluators({"small": small, "large": large})

    assert both.of(Candidate(choices={"judge": "large"})) is large
    assert both.of(Candidate(choices={"judge": "small"})) is small


def test_a_single_judge_need_not_be_named():
    only = _evaluator()

    assert Evaluators.one(only).of(Candidate(choices={"shape": "direct"})) is only


@pytest.mark.parametrize(
    ("judges", "choices"),
    [(("small", "large"), {"shape": "direct"}), (("small", "large"), {"judge": "other"}), (("small",), {"judge": "x"})],
)
def test_no_candidate_is_scored_by_a_judge_that_it_does_not_name(judges, choices):
    evaluators = Evaluators({name: _evaluator() for name in judges})

    with pytest.raises(ValueError, match=r"candidate [0-9a-f]{10} names the judge .*small"):
        evaluators.of(Candidate(choices=choices))


def test_a_search_without_a_judge_is_refused():
    with pytest.raises(ValueError, match="a search needs a judge"):
        Evaluators({})
