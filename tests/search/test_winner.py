"""The seed prompt stays unless the best stands out from it; a jury takes both."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt.metrics.ranking import average_precision
from promptopt.search.objective import ObjectiveConfig
from promptopt.search.winner import SearchScores, WinnerConfig, choose_winner

AUPRC = ObjectiveConfig()
CASES = 200
LABELS = np.arange(CASES) % 3 == 0


def _scores(*skills, seed_rank=0, noise=0):
    """Candidates of these skills, all finding the same cases hard."""
    random = np.random.default_rng(noise)
    hard = random.random(CASES)
    ranked = [np.clip(0.2 + skill * LABELS + 0.5 * hard + 0.1 * random.random(CASES), 0, 1) for skill in skills]
    return SearchScores(LABELS, [f"g{i // 2}" for i in range(CASES)], ranked, seed_rank)


def test_a_clear_lead_wins():
    found = choose_winner(_scores(0.4, 0.1, seed_rank=1), AUPRC, WinnerConfig())
    assert found.members == (0,)
    assert found.lead.stands_out
    assert 0 < found.lead.difference.low < found.lead.difference.point
    assert found.lead.difference.level == pytest.approx(0.9)


def test_a_lead_within_the_noise_keeps_the_seed_prompt():
    scores = _scores(0.2, 0.2, 0.19, seed_rank=2)
    found = choose_winner(scores, AUPRC, WinnerConfig())
    assert found.members == (2,)
    assert not found.lead.stands_out
    assert choose_winner(scores, AUPRC, WinnerConfig(seed_alpha=None)).members == (0,)


@pytest.mark.parametrize(
    ("seed_rank", "objective"),
    [
        (0, AUPRC),
        (None, AUPRC),
        (1, ObjectiveConfig(names=("tokens",))),
        (1, ObjectiveConfig(names=("auprc", "tokens"))),
    ],
    ids=["the seed prompt is the best", "it was not judged", "tokens", "several objectives"],
)
def test_where_there_is_no_lead_to_ask_of_the_best_wins(seed_rank, objective):
    found = choose_winner(_scores(0.2, 0.2, seed_rank=seed_rank), objective, WinnerConfig())
    assert found.members == (0,)
    assert found.lead is None


def test_a_jury_takes_the_seed_prompt_and_the_best_others():
    close = _scores(0.2, 0.2, 0.2, 0.19, seed_rank=3)
    assert choose_winner(close, AUPRC, WinnerConfig(jury=3)).members == (3, 0, 1)
    clear = _scores(0.4, 0.4, 0.4, 0.05, seed_rank=3)
    assert choose_winner(clear, AUPRC, WinnerConfig(jury=3)).members == (0, 1, 2)
    assert choose_winner(close, AUPRC, WinnerConfig(jury=9)).members == (3, 0, 1, 2)


def test_a_jury_that_does_worse_than_the_seed_prompt_is_no_winner():
    poor = _scores(0.4, 0.02, 0.01, seed_rank=0)
    found = choose_winner(poor, AUPRC, WinnerConfig(jury=3))
    assert found.members == (0,)
    assert found.jury_gap < 0
    good = choose_winner(_scores(0.2, 0.2, 0.2, seed_rank=0), AUPRC, WinnerConfig(jury=3))
    assert good.members == (0, 1, 2)
    assert good.jury_gap >= 0
    assert choose_winner(poor, AUPRC, WinnerConfig()).jury_gap is None


def test_a_jury_that_cannot_be_compared_wins():
    poor = (0.4, 0.02, 0.01)
    for seed_rank, objective in ((None, AUPRC), (0, ObjectiveConfig(names=("auprc", "tokens")))):
        found = choose_winner(_scores(*poor, seed_rank=seed_rank), objective, WinnerConfig(jury=3))
        assert found.members == (0, 1, 2)
        assert found.jury_gap is None


def test_a_jury_is_compared_where_all_of_it_was_judged():
    scores = _scores(0.4, 0.02, 0.01, seed_rank=0)
    scores.ranked[2][: CASES // 2] = np.nan
    assert choose_winner(scores, AUPRC, WinnerConfig(jury=3)).members == (0,)
    scores.ranked[2][:] = np.where(np.arange(CASES) < 3, 0.5, np.nan)
    scores.ranked[0][:3] = np.nan
    found = choose_winner(scores, AUPRC, WinnerConfig(jury=3))
    assert found.members == (0, 1, 2)
    assert found.jury_gap is None, "no case that all of them judged"


@pytest.mark.parametrize("name", ["auroc", "recall_at_precision", "recall_at_fpr", "f1", "f_beta"])
def test_the_lead_is_in_what_the_search_is_for(name):
    found = choose_winner(_scores(0.4, 0.05, seed_rank=1), ObjectiveConfig(names=(name,)), WinnerConfig())
    assert found.members == (0,)
    assert 0 < found.lead.difference.point <= 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 0.4))
def test_a_stricter_level_never_lets_more_through(noise, alpha):
    scores = _scores(0.25, 0.2, seed_rank=1, noise=noise)
    loose = choose_winner(scores, AUPRC, WinnerConfig(seed_alpha=alpha)).lead
    strict = choose_winner(scores, AUPRC, WinnerConfig(seed_alpha=alpha / 2)).lead
    assert loose.stands_out or not strict.stands_out


def test_a_lead_that_one_of_many_has_by_luck_keeps_the_seed_prompt():
    random = np.random.default_rng(3)
    ranked = [0.3 * LABELS + random.random(CASES) for _ in range(25)]
    ranked.sort(key=lambda one: -average_precision(LABELS, one))
    groups = [f"g{i}" for i in range(CASES)]
    pair = choose_winner(SearchScores(LABELS, groups, [ranked[0], ranked[12]], 1), AUPRC, WinnerConfig())
    many = choose_winner(SearchScores(LABELS, groups, ranked, 12), AUPRC, WinnerConfig())
    assert pair.members == (0,), "as if nobody else had been tried"
    assert many.members == (12,)
    assert many.lead.difference.point == pair.lead.difference.point


@pytest.mark.parametrize("fitted", [[True, False], [False, True]], ids=["the best", "the seed prompt"])
def test_scores_that_were_fitted_have_to_lead_by_more(fitted):
    plain = _scores(0.4, 0.1, seed_rank=1)
    crossfitted = dataclasses.replace(plain, crossfitted=fitted)
    strict, loose = (choose_winner(one, AUPRC, WinnerConfig()).lead.difference for one in (crossfitted, plain))
    assert strict.point == loose.point
    assert strict.point - strict.low == pytest.approx(1.5 * (loose.point - loose.low))
