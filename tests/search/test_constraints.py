"""Constraints are measured on their slice, and a candidate that breaks one does not win while another keeps them."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from promptopt.errors import ConfigError
from promptopt.search.constraints import ConstraintCheck, ConstraintConfig, check_constraints
from promptopt.search.lockstep_sweep import LockstepSweep

RACES = {"rule": "lockstep", "lockstep": {"field": 6, "first_block": 8, "min_positives": 4, "budget": 0.4}}


@pytest.fixture
def evaluated(open_sweep):
    """A candidate on the search cases, with scores that a test sets."""
    parts = open_sweep()
    program = parts.maker.program(parts.maker.candidate(parts.space.seed_point()))
    evaluation = parts.evaluator.evaluate(program.lower(), program.procedure, parts.cases)

    def make(scores):
        return type(evaluation)(evaluation.cases, evaluation.answers, np.array(scores, float), evaluation.measured)

    return parts.cases, make


def test_recall_is_that_of_the_slice_and_the_unjudged_are_missed(evaluated):
    cases, make = evaluated
    rows = [case.clause == "V2" for case in cases]
    perfect = [1.0 if case.is_violation else 0.0 for case in cases]
    check = ConstraintCheck([ConstraintConfig(slice="clause:V2", recall=0.9)], 0.8, lambda: make(perfect))
    assert check(make(perfect)) == {"recall clause:V2": pytest.approx(-0.1)}
    silent = [np.nan if row else score for row, score in zip(rows, perfect, strict=True)]
    assert check(make(silent)) == {"recall clause:V2": pytest.approx(0.9)}


def test_regression_is_measured_against_the_seed_prompt_once(evaluated):
    cases, make = evaluated
    perfect = [1.0 if case.is_violation else 0.0 for case in cases]
    worse = [0.0 if case.clause == "V2" else score for case, score in zip(cases, perfect, strict=True)]
    asked = []
    check = ConstraintCheck(
        [ConstraintConfig(slice="clause:V2", no_regression=True)], 0.8, lambda: asked.append(1) or make(perfect)
    )
    assert check(make(perfect)) == {"no regression clause:V2": 0.0}
    assert check(make(worse))["no regression clause:V2"] == pytest.approx(1.0)
    assert asked == [1]


def test_a_slice_without_violations_is_refused_and_the_others_named(golden):
    with pytest.raises(ConfigError, match="no violation of the search cases is in the slice clause:V9") as caught:
        check_constraints([ConstraintConfig(slice="clause:V9", recall=0.5)], golden.cases)
    assert "clause:V1, clause:V2" in str(caught.value)
    twice = [ConstraintConfig(slice="clause:V1", recall=0.5), ConstraintConfig(slice="clause:V1", no_regression=True)]
    with pytest.raises(ConfigError, match="named twice"):
        check_constraints(twice, golden.cases)


@pytest.mark.parametrize("wrong", [{"slice": "clause:V1"}, {"slice": "colour:red", "recall": 0.5}])
def test_constraints_that_say_nothing_are_refused(wrong):
    with pytest.raises(ValidationError):
        ConstraintConfig.model_validate(wrong)


def test_a_candidate_that_breaks_a_constraint_does_not_win(open_sweep, watcher):
    """The constraint forbids the winner of a sweep without it."""
    config = {"budget": {"trials": 12}, "racing": RACES}
    free = open_sweep("free", **config).sweep.run(watcher)
    assert len(free.ranked) > 1
    banned = free.ranked[0].candidate
    parts = open_sweep("bound", **config)
    best = free.ranked[0].values[0]
    bound = LockstepSweep(
        parts.study, parts.maker, parts.evaluators, parts.judge, parts.cases, parts.config, 0,
        constraints=lambda e: {"below the best": 1.0 if e.measured.summary.auprc == best else -1.0},
    )  # fmt: skip
    result = bound.run(watcher)
    assert result.ranked[0].candidate != banned
    assert result.ranked[0].feasible
    broken = next(r for r in result.records if r.candidate == banned)
    assert not broken.feasible
    assert parts.study.records() == list(result.records)
