"""The page of the end-to-end search benchmark."""

from __future__ import annotations

import pytest

from promptopt.bench.search_report import _estimates, _optimism, _page
from promptopt.bench.search_summary import MethodSummary, SearchBenchSummary
from promptopt.metrics.intervals import Interval

TASKS = ("first", "second", "third", "fourth")
METHODS = ("seed", "promptopt", "promptopt_jury@verbalized", "random")


@pytest.fixture(scope="module")
def summary() -> SearchBenchSummary:
    rows = [
        MethodSummary(
            task=task,
            method=method,
            seeds=1,
            auprc=Interval(point=value, low=value - 0.1, high=value + 0.2, level=0.95),
            by_seed=(value,),
            differences={},
            search_auprc=value,
            precision=0.5,
            recall=0.5,
            f1=0.5,
            judgements=10,
            tokens=100,
            generations=0,
        )
        for number, task in enumerate(TASKS)
        for method, value in zip(METHODS, (0.3, 0.5, 0.6, 0.4 + number / 100), strict=True)
    ]
    own = {"promptopt": (), "promptopt_jury@verbalized": TASKS}
    return SearchBenchSummary(rows=tuple(rows), overhead=0.01, below=(), above_best=own)


def test_every_task_is_a_panel_with_every_method_in_it(summary):
    figure = _estimates(summary)
    assert [note.text for note in figure.layout.annotations] == list(TASKS)
    for place in range(len(TASKS)):
        others, own = figure.data[2 * place : 2 * place + 2]
        assert (list(others.y), list(own.y)) == (["seed", "random"], ["promptopt", "promptopt_jury@verbalized"])
        assert others.marker.color != own.marker.color
        assert own.error_x.array == pytest.approx([0.2, 0.2])
        assert own.error_x.arrayminus == pytest.approx([0.1, 0.1])
    assert figure.data[-2].x == pytest.approx([0.3, 0.43])
    assert figure.layout.yaxis.categoryarray == METHODS[::-1]


def test_what_was_promised_is_told_apart_by_task(summary):
    *tasks, line = _optimism(summary).data
    assert [trace.name for trace in tasks] == list(TASKS)
    assert len({trace.marker.symbol for trace in tasks}) == len(TASKS)
    assert all(list(trace.text) == list(METHODS) for trace in tasks)
    assert line.name == "kept in full"


def test_the_page_needs_no_network(summary):
    page = _page(summary)
    assert "<script src=" not in page
    assert page.count("<section>") == 2
