"""A sweep in races proposes fields, keeps its budget, resumes as if nothing had happened, and learns from proposers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from promptopt.engines.fake import FakeEngine
from promptopt.search import trial_tables
from promptopt.search.proposers.base import Proposal

RACES = {"rule": "lockstep", "lockstep": {"field": 6, "first_block": 8, "min_positives": 4, "budget": 0.4}}
TINY = {
    "shapes": ["direct"],
    "policies": ["none", "summary"],
    "label_words": {"yes_no": {"violation": "yes", "allowed": "no"}},
    "quotings": ["quotes"],
    "placements": ["item_first"],
    "instructions": {"plain": "Apply {title}."},
    "demos": {"counts": [0], "draws": 1},
    "seed": {"policy": "summary"},
}


class KilledError(BaseException):
    """Stands for the end of the process."""


class MortalEngine(FakeEngine):
    """Dies before it answers its n-th call."""

    def __init__(self, dies_at):
        super().__init__()
        self._dies_at = dies_at

    def score(self, queries):
        if self.calls + 1 == self._dies_at:
            raise KilledError
        return super().score(queries)


class Written:
    """Proposes the incumbent's point with another instruction, and remembers what it was told."""

    name = "written"

    def __init__(self):
        self.histories = []

    def propose(self, history, count, seed):
        self.histories.append(history)
        if history.incumbent is None:
            return []
        point = dict(history.incumbent.tried.proposal.point)
        return [Proposal(point, {"instruction": f"Judge {seed}."}, self.name)]


def _facts(records):
    """What must be equal whenever a sweep is killed; trial numbers count abandoned trials too."""
    return [(r.candidate, r.complete, r.values, r.rungs, r.metrics, r.source, r.repeats is None) for r in records]


@pytest.fixture(scope="module")
def raced(tmp_path_factory, open_sweep_in, make_watcher):
    parts = open_sweep_in(tmp_path_factory.mktemp("raced"), budget={"trials": 16}, racing=RACES)
    told = make_watcher()
    return parts, parts.sweep.run(told), told


def test_fields_are_raced_until_the_budget_is_spent(raced):
    parts, result, told = raced
    distinct = [r for r in result.records if r.repeats is None]
    assert len(distinct) == 16
    assert result.stopped_by == "budget of 16 trials"
    assert result.seed.candidate == parts.maker.candidate(parts.space.seed_point())
    assert {race for race, *_ in told.blocks} == {1, 2, 3}
    assert told.finished == list(result.records)
    assert any(not r.complete for r in distinct), "somebody is dropped among sixteen"
    assert all(r.cases == len(parts.cases) for r in result.ranked)
    assert [r.values[0] for r in result.ranked] == sorted((r.values[0] for r in result.ranked), reverse=True)


def test_the_best_of_earlier_races_run_again_at_no_cost(raced):
    parts, result, told = raced
    first = {race: candidates for race, candidates, cases, _ in reversed(told.blocks)}
    assert first[1] == 6
    assert first[2] == 6 + 2
    asked = {
        (prompt.digest, case)
        for r in result.records
        for prompt in parts.maker.program(r.candidate).lower()
        for case in range(r.cases)
    }
    assert parts.judge.spent.judgements == parts.engine.queries_seen <= len(asked) < 0.8 * result.judgements_in_full


def test_what_is_dropped_is_recorded_with_its_estimate(raced):
    parts, result, _ = raced
    for record in result.records:
        assert record.metrics["auprc"] == record.values[0] == record.rungs[-1]
        assert 0 <= record.values[0] <= 1
        assert record.point
        if record.complete:
            program = parts.maker.program(record.candidate)
            again = parts.evaluator.evaluate(program.lower(), program.procedure, parts.sweep.cases)
            assert again.measured.metrics() == record.metrics


@pytest.mark.parametrize("dies_at", [1, 3, 8, 14])
def test_a_sweep_killed_within_a_race_ends_like_an_undisturbed_one(open_sweep, watcher, dies_at):
    config = {"budget": {"trials": 10}, "racing": RACES}
    whole = open_sweep("whole", **config)
    expected = whole.sweep.run(watcher)
    part = open_sweep("parts", MortalEngine(dies_at), **config)
    with pytest.raises(KilledError):
        part.sweep.run(watcher)
    last = open_sweep("parts", **config)
    result = last.sweep.run(watcher)
    assert _facts(result.records) == _facts(expected.records)
    assert list(last.store.dump()) == list(whole.store.dump())
    assert part.engine.queries_seen + last.engine.queries_seen == whole.engine.queries_seen, "nothing judged twice"
    assert replace(last.judge.spent, seconds=0) == replace(whole.judge.spent, seconds=0)


@pytest.mark.parametrize("written", [0, 1, 3])
def test_a_sweep_killed_while_a_race_is_told_ends_like_an_undisturbed_one(open_sweep, watcher, monkeypatch, written):
    config = {"budget": {"trials": 10}, "racing": RACES}
    expected = open_sweep("whole", **config).sweep.run(watcher)
    part = open_sweep("parts", **config)
    facts, left = trial_tables._facts, iter(range(written))

    def some_facts(ending):
        if next(left, None) is None:
            raise KilledError
        return facts(ending)

    monkeypatch.setattr(trial_tables, "_facts", some_facts)
    with pytest.raises(KilledError):
        part.sweep.run(watcher)
    monkeypatch.undo()
    assert _facts(open_sweep("parts", **config).sweep.run(watcher).records) == _facts(expected.records)


@pytest.mark.parametrize("calls", [150, 400])
def test_a_budget_of_judgements_is_not_overdrawn(open_sweep, watcher, make_space, calls):
    space = make_space(shapes=["direct"])
    parts = open_sweep(space=space, budget={"trials": None, "judge_calls": calls}, racing=RACES)
    result = parts.sweep.run(watcher)
    assert parts.judge.spent.judgements <= calls
    assert result.ranked
    assert result.stopped_by == f"budget of {calls} judge calls: the rest carries no further race"


def test_a_small_space_ends_the_sweep(open_sweep, watcher, make_space):
    parts = open_sweep(space=make_space(**TINY), budget={"trials": 9}, racing=RACES)
    result = parts.sweep.run(watcher)
    assert sum(r.repeats is None for r in result.records) == 2
    assert "tried before" in result.stopped_by


def test_written_candidates_run_with_the_field(open_sweep, watcher):
    proposer = Written()
    parts = open_sweep(budget={"trials": 14}, racing=RACES, proposers=proposer)
    result = parts.sweep.run(watcher)
    written = [r for r in result.records if r.source == "written"]
    assert len(written) == len(proposer.histories) - 1 == 2, "one for each race after the first"
    assert all(r.candidate.texts["instruction"].startswith("Judge ") for r in written)
    assert not proposer.histories[0].tried
    history = proposer.histories[1]
    assert len(history.tried) == 6
    assert len(history.incumbent.scores) == len(parts.cases)
    assert not any(math.isnan(score) for score in history.incumbent.scores)
    assert history.incumbent.tried.goodness == max(t.goodness for t in history.tried if t.complete)


def test_several_objectives_race_and_keep_what_nobody_dominates(open_sweep, watcher):
    parts = open_sweep(objective={"names": ["auprc", "tokens"]}, budget={"trials": 12}, racing=RACES)
    result = parts.sweep.run(watcher)
    assert any(not r.complete for r in result.records)
    assert all(r.values == (r.metrics["auprc"], r.metrics["tokens_per_case"]) for r in result.ranked)
