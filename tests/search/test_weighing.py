"""Weights and thresholds of a checklist's clauses from stored scores of search cases."""

from __future__ import annotations

import numpy as np
import pytest

from promptopt.core.case import GoldenCase, Label, Split
from promptopt.metrics.ranking import average_precision
from promptopt.policy.model import Action, Clause, Outcome, Rule, When
from promptopt.policy.procedure import Procedure
from promptopt.search.weighing import scores_to_compare, weigh

NAMES = ("V1", "V2", "V3")


def checklist(aggregate="weighted"):
    clauses = [
        Clause(
            id=name,
            title=name,
            severity=severity,
            definition="d",
            question=f"Does {name} apply?",
            includes=("i",),
            excludes=("e",),
            exceptions=("V3",) if name == "V1" else (),
            action=Action.REMOVE if severity else Action.ALLOW,
        )
        for name, severity in zip(NAMES, (4, 2, 0), strict=True)
    ]
    rules = (
        Rule(id="R1", when=When(any=("V1",), none=("V3",)), then=Outcome.VIOLATION),
        Rule(id="R2", when=When(any=("V2",)), then=Outcome.VIOLATION),
        Rule(id="R3", when=When(), then=Outcome.ALLOWED),
    )
    return Procedure(
        shape="checklist", clauses=tuple(clauses), precedence=("V1", "V2"), routing=rules, aggregate=aggregate
    )


def cases(n=400, seed=0):
    """A third violates V1, a sixth V2, a sixth is allowed by V3, the rest is plain."""
    random = np.random.default_rng(seed)
    made = []
    for row in range(n):
        clause = random.choice(["V1", "V1", "V2", "V3", None, None])
        violates = clause in ("V1", "V2")
        made.append(
            GoldenCase(
                id=f"c{row}",
                text=f"text {row}",
                label=Label.VIOLATION if violates else Label.ALLOWED,
                clause=clause,
                severity={"V1": 4, "V2": 2}.get(clause, 0),
                group=f"g{row // 2}",
                split=Split.SEARCH,
            )
        )
    return made


def answers(made, seed=1, skill=(3.0, 0.0, 3.0), bias=(-2.0, 0.0, 0.0)):
    """A judge that knows V1 but says yes too seldom, guesses at V2, and knows V3, which looks like V1 to it."""
    random = np.random.default_rng(seed)
    found = {}
    for name, lift, shift in zip(NAMES, skill, bias, strict=True):
        applies = np.array([case.clause == name or (name == "V1" and case.clause == "V3") for case in made])
        logits = lift * (applies - 0.5) + shift + random.normal(0, 1, len(made))
        found[name] = 1 / (1 + np.exp(-logits))
    return found


def test_weights_follow_what_the_answers_are_worth():
    made = cases()
    fitted = weigh(checklist(), answers(made), made).weights
    assert fitted.weights["V1"] > 5 * fitted.weights["V2"] >= 0
    assert fitted.weights["V3"] > 5 * fitted.weights["V2"]


def test_fitted_weights_rank_new_cases_better_than_noisy_or():
    made, new = cases(), cases(2000, seed=7)
    labels = np.array([case.is_violation for case in new])
    asked = answers(new, seed=8)
    fitted = weigh(checklist(), answers(made), made)
    plain = checklist("noisy_or").score(asked)
    assert average_precision(labels, fitted.score(asked)) > average_precision(labels, plain) + 0.05


def test_thresholds_go_to_where_the_judge_says_yes():
    made = cases()
    fitted = weigh(checklist(), answers(made), made).weights
    assert fitted.thresholds["V1"] < 0.3
    assert 0.2 < fitted.thresholds["V3"] < 0.8
    assert "V2" not in fitted.thresholds  # at which it guesses
    rare = [
        case if case.clause != "V3" or n < 5 else case.model_copy(update={"clause": None})
        for n, case in enumerate(made)
    ]
    assert "V3" not in weigh(checklist(), answers(made), rare).weights.thresholds


def test_candidates_are_compared_by_scores_that_their_weights_have_not_seen():
    made = cases()
    noise = {name: np.random.default_rng(3).random((3, len(made)))[n] for n, name in enumerate(NAMES)}
    labels = np.array([case.is_violation for case in made])
    compared = scores_to_compare(checklist(), noise, made)
    assert average_precision(labels, compared) < labels.mean() + 0.08
    assert not np.isnan(compared).any()
    good = answers(made)
    compared = scores_to_compare(checklist(), good, made)
    own = weigh(checklist(), good, made).score(good)
    assert average_precision(labels, compared) == pytest.approx(average_precision(labels, own), abs=0.05)
    assert not np.array_equal(compared, own)


def test_other_procedures_and_too_few_cases_are_left_as_they_are():
    made = cases(400)
    few = made[:6]
    routed = checklist("routing")
    assert weigh(routed, answers(made), made) is routed
    np.testing.assert_array_equal(scores_to_compare(routed, answers(made), made), routed.score(answers(made)))
    assert weigh(checklist(), answers(few), few) == checklist()
    unjudged = answers(made)
    unjudged["V2"][5:] = np.nan
    assert weigh(checklist(), unjudged, made) == checklist()
    calibration = [case.model_copy(update={"split": Split.CALIBRATION}) for case in made]
    unfitted = checklist().score(answers(made))
    np.testing.assert_array_equal(scores_to_compare(checklist(), answers(made), calibration), unfitted)
    fitted = weigh(checklist(), answers(made), made)
    np.testing.assert_array_equal(scores_to_compare(fitted, answers(made), made), fitted.score(answers(made)))


def verbalized():
    return Procedure.model_validate({**checklist("routing").model_dump(), "shape": "verbalized"})


def panel(made, seed=1, tells=2.0):
    """A judge that leans to yes whatever it reads, and in whom the third word goes down with violations."""
    random = np.random.default_rng(seed)
    violates = np.array([case.is_violation for case in made])
    logits = random.normal(0, 1, (len(made), 6))
    logits[:, 0] += 3
    logits[:, 2] -= tells * violates
    odds = np.exp(logits)
    return {"violation": odds / odds.sum(axis=1, keepdims=True)}


def test_a_panel_finds_what_the_judges_own_answer_does_not_say():
    made, new = cases(100), cases(1000, seed=7)
    labels = np.array([case.is_violation for case in new])
    fitted = weigh(verbalized(), panel(made), made)
    weights = fitted.verbalizer.weights
    assert len(weights) == 6
    assert weights[2] == min(weights) < 0, "words may speak against a violation"
    asked = panel(new, seed=8)
    assert average_precision(labels, verbalized().score(asked)) < labels.mean() + 0.08
    assert average_precision(labels, fitted.score(asked)) > labels.mean() + 0.2


def test_panels_are_compared_by_scores_that_their_weights_have_not_seen():
    made = cases(100)
    labels = np.array([case.is_violation for case in made])
    noise = panel(made, tells=0.0)
    in_sample = average_precision(labels, weigh(verbalized(), noise, made).score(noise))
    compared = average_precision(labels, scores_to_compare(verbalized(), noise, made))
    assert compared < in_sample - 0.05
    assert compared < labels.mean() + 0.12


def test_a_panel_with_too_few_cases_is_read_as_a_direct_question():
    few = cases(6)
    assert weigh(verbalized(), panel(few), few) == verbalized()
    np.testing.assert_array_equal(scores_to_compare(verbalized(), panel(few), few), verbalized().score(panel(few)))


def test_weights_start_from_a_prior_and_leave_it_behind():
    """A dozen cases say little about six words; a prior that is right about them says the rest."""
    few, new = cases(14), cases(1000, seed=7)
    labels = np.array([case.is_violation for case in new])
    prior = Procedure.model_validate({**dict(verbalized()), "word_prior": (0.0, 0.0, -1.5, 0.0, 0.0, 0.0)})
    by_itself, helped = (weigh(one, panel(few, tells=0.7), few) for one in (verbalized(), prior))
    asked = panel(new, seed=8, tells=0.7)
    assert average_precision(labels, helped.score(asked)) > average_precision(labels, by_itself.score(asked)) + 0.03
    assert helped.word_prior is None, "a bundle has no use for it"
    assert helped.model_dump().keys() == by_itself.model_dump().keys()


def test_candidates_with_a_prior_are_compared_by_scores_drawn_to_it():
    made = cases(100)
    labels = np.array([case.is_violation for case in made])
    noise = panel(made, tells=0.0)
    telling = Procedure.model_validate({**dict(verbalized()), "word_prior": (0.0, 0.0, -1.5, 0.0, 0.0, 0.0)})
    compared = scores_to_compare(telling, noise, made)
    assert not np.array_equal(compared, scores_to_compare(verbalized(), noise, made))
    assert average_precision(labels, compared) < labels.mean() + 0.15
