"""Seconds of a case are predicted from a pace that is measured once."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from promptopt.core.case import GoldenCase, Label, Split
from promptopt.core.prompt import ITEM_SLOT, LoweredPrompt, PromptSegment, RationaleRequest
from promptopt.core.rationale import RATIONALE_SLOT
from promptopt.engines.base import Generation
from promptopt.engines.fake import FakeEngine
from promptopt.errors import EngineError
from promptopt.search.evaluation import Evaluator
from promptopt.search.objective import ObjectiveConfig, measure
from promptopt.search.pace import Pace, measure_pace

SLOT = PromptSegment(role="user", slot=ITEM_SLOT)


def _direct(question="violation?"):
    return LoweredPrompt(
        question="q", segments=(SLOT, PromptSegment(role="user", text=f" {question}")), labels=("yes", "no")
    )


def _reasoned(max_tokens):
    request = RationaleRequest(
        segments=(SLOT, PromptSegment(role="user", text=" Why?")), samples=2, max_tokens=max_tokens
    )
    written = PromptSegment(role="assistant", slot=RATIONALE_SLOT)
    return LoweredPrompt(
        question="q",
        segments=(SLOT, PromptSegment(role="user", text=" Why?"), written, PromptSegment(role="user", text=" So?")),
        labels=("yes", "no"),
        rationale=request,
    )


@pytest.fixture
def cases():
    return [
        GoldenCase(id=f"c{i}", text=f"a text of six words {i}", label=Label.ALLOWED, split=Split.SEARCH, group=f"g{i}")
        for i in range(40)
    ]


def test_seconds_grow_with_what_is_read_and_written(cases):
    pace, engine = Pace(read=1.0, written=100.0), FakeEngine()
    short = pace.seconds([_direct()], cases[:4], engine)
    longer = pace.seconds([_direct("violation, yes or no, of this policy?")], cases[:4], engine)
    assert longer == short + 4 * 6, "six more words a case, a second each"
    brief, long = (pace.seconds([_reasoned(tokens)], cases[:4], engine) for tokens in (3, 5))
    assert long - brief == 4 * 2 * 2 * (1.0 + 100.0), "two rationales a case, two more words each, written and read"
    assert engine.calls == 0


class TimedEngine(FakeEngine):
    """Reports other seconds for each of its calls; the third is the fastest."""

    def score(self, queries):
        scores = super().score(queries)
        seconds = {1: 9.0, 2: 0.5, 3: 0.25, 4: 0.75}[self.calls]
        return replace(scores, usage=replace(scores.usage, seconds=seconds))


def test_the_pace_is_that_of_the_fastest_round(cases):
    engine = TimedEngine()
    pace = measure_pace([_direct()], cases, engine, writes=False)
    assert pace.seconds([_direct()], cases[:32], engine) == pytest.approx(0.25)
    assert pace.written == 0
    assert engine.queries_seen == 4 * 32, "a first round that does not count, and three that do"


def test_writing_is_timed_where_it_is_wanted(cases):
    assert measure_pace([_direct()], cases, FakeEngine(), writes=True).written > 0


def test_a_judge_that_cannot_write_says_so(cases):
    class Silent(FakeEngine):
        def generate(self, requests):
            return [Generation("", 0, "failed", "out of ink") for _ in requests]

    with pytest.raises(EngineError, match=r"cannot write \(out of ink\); leave reasoned"):
        measure_pace([_direct()], cases, Silent(), writes=True)


def test_an_evaluator_without_a_pace_knows_no_seconds(cases):
    objective = ObjectiveConfig(names=("auprc", "seconds"))
    with_pace = Evaluator(None, FakeEngine(), objective, Pace(read=0.5))
    tokens = with_pace.tokens_per_case([_direct()], cases)
    assert with_pace.seconds_per_case([_direct()], cases) == pytest.approx(0.5 * tokens)
    assert with_pace.costs_per_case([_direct()], cases, ["auprc", "seconds", "tokens"]) == pytest.approx(
        [0.5 * tokens, tokens]
    )
    without = Evaluator(None, FakeEngine(), objective)
    assert math.isnan(without.seconds_per_case([_direct()], cases))


def test_seconds_are_minimised_and_named_only_where_known():
    labels, scores = np.array([True, False]), np.array([0.9, 0.1])
    config = ObjectiveConfig(names=("auprc", "seconds"))
    known = measure(labels, scores, np.zeros(2, int), 3.0, config, 0.25)
    assert known.values(config) == [1.0, 0.25]
    assert config.directions == ["maximize", "minimize"]
    assert known.metrics()["seconds_per_case"] == 0.25
    assert "seconds_per_case" not in measure(labels, scores, np.zeros(2, int), 3.0, config).metrics()
