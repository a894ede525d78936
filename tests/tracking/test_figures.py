"""Figures show the numbers they are given, leave out none silently, and work without a network."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.tracking.figures import (
    TrialPoint,
    calibration_figure,
    cost_quality_figure,
    history_figure,
    pareto_front,
    precision_recall_figure,
    score_distribution_figure,
)

TRIALS = [
    TrialPoint(0, "aaaa", "direct", 0.40, 100.0, "seed"),
    TrialPoint(1, "bbbb", "checklist", 0.70, 900.0, "winner"),
    TrialPoint(2, "cccc", "direct", 0.55, 120.0),
    TrialPoint(3, "dddd", "direct", 0.50, 500.0, "finalist"),
    TrialPoint(4, "eeee", "direct", float("nan"), 130.0),
]


def _trace(figure: Any, name: str) -> Any:
    (trace,) = [trace for trace in figure.data if trace.name == name]
    return trace


def _annotations(figure: Any) -> list[str]:
    return [annotation.text for annotation in figure.layout.annotations]


def test_precision_recall_orders_points_by_recall_and_draws_the_floor() -> None:
    figure = precision_recall_figure({"seed": ([1.0, 0.2, 0.5], [0.0, 1.0, 0.5])}, 0.9)
    curve = _trace(figure, "seed")
    assert list(curve.x) == [0.0, 0.5, 1.0]
    assert list(curve.y) == [1.0, 0.5, 0.2]
    assert _annotations(figure) == ["precision floor 0.9"]
    assert _annotations(precision_recall_figure({"seed": ([1.0], [0.0])})) == []


def test_curves_differ_in_colour_and_dash() -> None:
    figure = precision_recall_figure({name: ([1.0], [0.0]) for name in "abcde"})
    assert len({(trace.line.color, trace.line.dash) for trace in figure.data}) == 5
    assert len({trace.line.dash for trace in figure.data}) == 5


def test_every_judged_case_is_in_the_distribution_and_the_others_are_counted() -> None:
    labels = [True, True, False, False, False, True]
    figure = score_distribution_figure(labels, [0.9, 0.8, 0.1, 0.2, 0.3, float("nan")], 0.5)
    violation, allowed = _trace(figure, "violation (2)"), _trace(figure, "allowed (3)")
    assert violation.customdata[:, 2].sum() == 2
    assert allowed.y.sum() == pytest.approx(1.0)
    assert figure.layout.title.subtitle.text == "1 unjudged case not shown"
    assert _annotations(figure) == ["threshold 0.5"]


@pytest.mark.parametrize("scores", [[], [0.5, 0.5], [float("nan")]])
def test_a_distribution_of_nothing_or_one_value_is_still_a_figure(scores: list[float]) -> None:
    figure = score_distribution_figure([True] * len(scores), scores, None)
    assert len(figure.data) == 2
    assert _annotations(figure) == []


def test_the_pareto_front_holds_what_nothing_beats() -> None:
    assert [trial.number for trial in pareto_front(TRIALS)] == [0, 2, 1]


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(1, 100)), max_size=20).map(
        lambda pairs: [TrialPoint(i, "c", "direct", q, t) for i, (q, t) in enumerate(pairs)]
    )
)
def test_every_trial_is_on_the_front_or_beaten_by_one_that_is(trials: list[TrialPoint]) -> None:
    front = pareto_front(trials)
    for trial in trials:
        assert any(f.tokens_per_case <= trial.tokens_per_case and f.auprc >= trial.auprc for f in front)
    for a in front:
        assert not any(b.tokens_per_case <= a.tokens_per_case and b.auprc > a.auprc for b in trials)


def test_cost_and_quality_name_trials_and_candidates() -> None:
    figure = cost_quality_figure(TRIALS)
    direct = _trace(figure, "direct")
    assert [row[:2] for row in direct.customdata] == [[0, "aaaa"], [2, "cccc"], [3, "dddd"]]
    assert "candidate %{customdata[1]}" in direct.hovertemplate
    assert {"seed", "finalist", "winner", "checklist", "Pareto front"} <= {trace.name for trace in figure.data}
    assert direct.marker.symbol != _trace(figure, "checklist").marker.symbol
    assert figure.layout.title.subtitle.text == "1 trial without a score not shown"


def test_history_keeps_the_best_so_far_in_the_order_of_trials() -> None:
    best = _trace(history_figure(list(reversed(TRIALS))), "best so far")
    assert list(best.x) == [0, 1, 2, 3]
    assert list(best.y) == [0.40, 0.70, 0.70, 0.70]


def test_no_trials_make_empty_figures() -> None:
    assert len(history_figure([]).data) == 2
    assert len(cost_quality_figure([]).data) == 1


def test_calibration_shows_shares_with_intervals() -> None:
    rng = np.random.default_rng(0)
    probs = rng.uniform(size=4000)
    labels = rng.uniform(size=4000) < probs
    judge = _trace(calibration_figure(list(labels), list(probs)), "judge")
    assert len(judge.x) == 10
    assert np.abs(np.asarray(judge.x) - np.asarray(judge.y)).max() < 0.08
    assert judge.customdata[:, 0].sum() == 4000


def test_calibration_intervals_are_wilsons() -> None:
    judge = _trace(calibration_figure([True] * 8 + [False] * 2, [0.75] * 10), "judge")
    # Wilson's interval of 8 in 10, from Brown, Cai and DasGupta (2001).
    assert judge.customdata[0].tolist() == pytest.approx([10, 0.4902, 0.9433], abs=1e-4)


def test_probability_one_falls_into_the_last_bin_and_unjudged_cases_are_counted() -> None:
    figure = calibration_figure([True, False, True], [1.0, 0.0, float("nan")])
    assert list(_trace(figure, "judge").x) == [0.0, 1.0]
    assert figure.layout.title.subtitle.text == "1 unjudged case not shown"


def test_every_figure_has_titles_and_its_own_script() -> None:
    figures = [
        precision_recall_figure({"a": ([1.0], [0.5])}, 0.9),
        score_distribution_figure([True, False], [0.9, 0.1], 0.5),
        cost_quality_figure(TRIALS),
        history_figure(TRIALS),
        calibration_figure([True, False], [0.9, 0.1]),
    ]
    for figure in figures:
        layout = json.loads(figure.to_json())["layout"]
        assert all(layout[part]["title"]["text"] for part in ("xaxis", "yaxis"))
        assert layout["title"]["text"]
    page = figures[0].to_html(include_plotlyjs=True, full_html=True)
    assert 'src="http' not in page
    assert len(page) > 1_000_000


def test_dropped_trials_are_shown_apart_and_never_lead() -> None:
    trials = [
        TrialPoint(0, "aaaa", "direct", 0.5, 40.0, "seed"),
        TrialPoint(1, "bbbb", "direct", 0.9, 30.0, "dropped"),
        TrialPoint(2, "cccc", "direct", 0.6, 35.0, "winner"),
    ]
    history, cost = history_figure(trials), cost_quality_figure(trials)
    assert max(next(t for t in history.data if t.name == "best so far").y) == 0.6
    assert 0.9 not in next(t for t in cost.data if t.name == "Pareto front").y
    for figure in (history, cost):
        assert [t.y[0] for t in figure.data if (t.name or "").startswith("dropped")] == [0.9]
