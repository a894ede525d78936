"""The verbalizer: what a panel of words says, and that nothing else changes with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from promptopt.core.case import Label
from promptopt.core.verdict import Verdict
from promptopt.policy.procedure import DIRECT_QUESTION, Procedure
from promptopt.policy.verbalizer import PANEL, Verbalizer, own_answer, panel_of, word_features

PROBABILITIES = st.lists(st.floats(0.001, 1.0), min_size=4, max_size=4).map(lambda row: np.array(row) / sum(row))


def _table(rows, words=4, seed=0):
    return np.random.default_rng(seed).dirichlet(np.ones(words), size=rows)


@pytest.fixture
def fitted(policy):
    weights = Verbalizer(intercept=0.3, weights=(1.0, -1.0, 0.5, -2.0))
    return Procedure.of(policy, "verbalized").model_copy(update={"verbalizer": weights})


def test_a_panel_has_the_answers_first_and_no_word_twice():
    assert panel_of("bad", "fine", ("Yes", "bad", "No")) == ("bad", "fine", "Yes", "No")
    panel = panel_of("yes", "no")
    assert panel[:2] == ("yes", "no")
    assert len(set(panel)) == len(panel) == len(PANEL)
    assert panel_of("yes", "no", ()) == ("yes", "no")


@given(PROBABILITIES)
def test_without_weights_it_is_a_direct_question(row):
    assert own_answer(row[np.newaxis])[0] == pytest.approx(row[0] / (row[0] + row[1]))


def test_an_answer_that_came_through_alone_is_taken_as_it_is(policy):
    alone = np.array([0.2, np.nan])
    np.testing.assert_array_equal(Procedure.of(policy, "verbalized").score({DIRECT_QUESTION: alone}), alone)


def test_an_answer_that_the_judge_gives_no_chance_is_a_half():
    assert own_answer(np.array([[0.0, 0.0, 1.0], [0.2, 0.0, 0.8]])).tolist() == [0.5, 1.0]


def test_the_score_is_the_logistic_of_the_weighted_log_probabilities(fitted):
    table = _table(20)
    logits = 0.3 + np.log(table) @ np.array([1.0, -1.0, 0.5, -2.0])
    np.testing.assert_allclose(fitted.score({DIRECT_QUESTION: table}), 1 / (1 + np.exp(-logits)), rtol=1e-12)


def test_scores_do_not_depend_on_the_batch_and_an_unjudged_case_has_none(fitted):
    table = _table(200)
    table[3] = np.nan
    scores = fitted.score({DIRECT_QUESTION: table})
    alone = [fitted.score({DIRECT_QUESTION: row[np.newaxis]})[0] for row in table]
    np.testing.assert_array_equal(scores, alone)
    assert np.isnan(scores[3])
    assert not fitted.verdict({DIRECT_QUESTION: tuple(table[3])}, np.nan, 0.5).is_judged


def test_a_word_without_any_chance_is_no_infinity(fitted):
    table = np.array([[0.5, 0.5, 0.0, 0.0]])
    assert np.isfinite(word_features(table)).all()
    assert 0 <= fitted.score({DIRECT_QUESTION: table})[0] <= 1


def test_a_verdict_names_no_clause_and_no_severity(fitted):
    row = tuple(_table(1)[0])
    assert fitted.verdict({DIRECT_QUESTION: row}, 0.7, 0.6) == Verdict(
        label=Label.VIOLATION, probability=0.7, severity=None
    )
    assert fitted.verdict({DIRECT_QUESTION: row}, 0.5, 0.6).label is Label.ALLOWED


def test_it_is_unfitted_until_it_has_weights(policy, fitted):
    assert Procedure.of(policy, "verbalized").is_unfitted
    assert not fitted.is_unfitted
    assert not Procedure.of(policy, "direct").is_unfitted
    assert Procedure.of(policy, "checklist", "weighted").is_unfitted


def test_weights_survive_json_and_are_written_where_there_are_any(policy, fitted):
    assert Procedure.model_validate_json(fitted.model_dump_json()) == fitted
    assert "verbalizer" not in Procedure.of(policy, "verbalized").model_dump()


def test_other_shapes_have_no_verbalizer(policy, fitted):
    direct = Procedure.of(policy, "direct")
    with pytest.raises(ValidationError, match="only the verbalized shape has a verbalizer"):
        Procedure.model_validate({**direct.model_dump(), "verbalizer": fitted.verbalizer})


def test_the_telling_words_are_those_with_the_largest_weights_of_either_sign(fitted):
    words = ("yes", "no", "Bad", "Fine")
    assert fitted.verbalizer.telling(words) == (("yes", "Bad"), ("Fine", "no"))
    assert fitted.verbalizer.telling(words, most=1) == (("yes",), ("Fine",))
