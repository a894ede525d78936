"""The sweep asks, judges, races, tells, stops, and resumes as if nothing had happened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from promptopt.engines.fake import FakeEngine
from promptopt.errors import UserError
from promptopt.scores.store import Spent
from promptopt.search import judging, sweep
from promptopt.search.config import BudgetConfig
from promptopt.search.sweep import limit_reached

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
    """Dies before it answers its n-th call; 0 never."""

    def __init__(self, dies_at=0, **other):
        super().__init__(**other)
        self._dies_at = dies_at

    def score(self, queries):
        if self.calls + 1 == self._dies_at:
            raise KilledError
        return super().score(queries)


class NarrowEngine(FakeEngine):
    """Gives no verdict on queries of more than so many words."""

    def __init__(self, limit):
        super().__init__()
        self._limit = limit

    def score(self, queries):
        scores = super().score(queries)
        lengths = [sum(len(s.text.split()) for s in q.segments) for q in queries]
        unjudged = {row: "the prompt does not fit the context" for row, n in enumerate(lengths) if n > self._limit}
        logprobs = scores.logprobs.copy()
        logprobs[list(unjudged)] = float("nan")
        return replace(scores, logprobs=logprobs, unjudged=unjudged)


def _facts(records):
    """What must be equal whenever a sweep is killed; trial numbers count abandoned trials too."""
    return [(r.candidate, r.complete, r.values, r.rungs, r.metrics, r.repeats is None) for r in records]


@pytest.fixture(scope="module")
def swept(tmp_path_factory, open_sweep_in, make_watcher):
    """A sweep of twelve candidates over three blocks, what came of it, and what it told."""
    parts = open_sweep_in(
        tmp_path_factory.mktemp("swept"), budget={"trials": 12}, racing={"blocks": [16, 16], "warmup": 2}
    )
    told = make_watcher()
    return parts, parts.sweep.run(told), told


def test_a_sweep_finds_better_than_the_seed_prompt(swept):
    parts, result, told = swept
    distinct = [r for r in result.records if r.repeats is None]
    assert len(distinct) == 12
    assert result.stopped_by == "budget of 12 trials"
    assert result.seed == distinct[0]
    assert result.seed.candidate == parts.maker.candidate(parts.space.seed_point())
    assert [r.values[0] for r in result.ranked] == sorted((r.values[0] for r in result.ranked), reverse=True)
    assert result.ranked[0].values[0] > result.seed.values[0]
    assert told.finished == list(result.records)
    assert told.started == [(r.number, r.candidate.digest) for r in distinct]


def test_records_say_what_was_measured(swept):
    parts, result, _ = swept
    assert [len(block) for block in parts.sweep.blocks] == [16, 16, len(parts.cases) - 32]
    for record in result.records:
        assert record.complete == (len(record.rungs) == 3)
        assert record.cases == sum(len(block) for block in parts.sweep.blocks[: len(record.rungs)])
        assert record.values == record.rungs[-1:]
        assert record.metrics["auprc"] == record.values[0]
        program = parts.maker.program(record.candidate)
        seen = parts.sweep.cases[: record.cases]
        again = parts.evaluator.evaluate(program.lower(), program.procedure, seen)
        assert again.measured.metrics() == record.metrics
    assert {len(record.rungs) for record in result.records} >= {1, 3}, "racing drops someone among twelve"
    assert all(r.complete for r in result.ranked)


def test_racing_saves_judgements_and_none_is_paid_twice(swept):
    parts, result, _ = swept
    asked = {
        (prompt.digest, case.digest)
        for r in result.records
        for prompt in parts.maker.program(r.candidate).lower()
        for case in parts.sweep.cases[: r.cases]
    }
    assert parts.judge.spent.judgements == parts.engine.queries_seen == len(asked)
    assert len(asked) < 0.8 * result.judgements_in_full
    questions = [parts.maker.questions(r.candidate) for r in result.records if r.repeats is None]
    assert set(questions) == {1, 3}
    assert result.judgements_in_full == sum(questions) * len(parts.cases)


def test_no_candidate_is_scored_on_what_a_prompt_may_show(swept):
    parts, result, _ = swept
    pool = {case.id for case in parts.pool}
    shown = {demo for r in result.records for demo in r.candidate.demos}
    assert shown
    assert shown <= pool
    assert not pool & {case.id for case in parts.sweep.cases}
    assert not {c.group for c in parts.pool} & {c.group for c in parts.sweep.cases}


def test_a_finished_sweep_resumes_to_the_same_result_for_nothing(open_sweep, watcher):
    first = open_sweep(budget={"trials": 4}).sweep.run(watcher)
    again = open_sweep(budget={"trials": 4})
    assert again.sweep.run(watcher) == first
    assert again.engine.calls == 0
    more = open_sweep(budget={"trials": 6})
    assert more.sweep.run(watcher).records[: len(first.records)] == first.records
    assert more.engine.calls > 0


@pytest.fixture(scope="module")
def kill_budget():
    return {"budget": {"trials": 6}}


def test_a_sweep_killed_at_any_call_ends_like_an_undisturbed_one(open_sweep, watcher, kill_budget):
    whole = open_sweep("whole", **kill_budget)
    expected = whole.sweep.run(watcher)
    paid = 0
    for dies_at in (1, 2, 1, 3, 1, 2):
        part = open_sweep("parts", MortalEngine(dies_at), **kill_budget)
        with pytest.raises(KilledError):
            part.sweep.run(watcher)
        paid += part.engine.queries_seen
    last = open_sweep("parts", **kill_budget)
    result = last.sweep.run(watcher)
    assert _facts(result.records) == _facts(expected.records)
    assert result.ranked[0].candidate == expected.ranked[0].candidate
    assert list(last.store.dump()) == list(whole.store.dump())
    assert paid + last.engine.queries_seen == whole.engine.queries_seen, "nothing is judged twice"
    assert replace(last.judge.spent, seconds=0) == replace(whole.judge.spent, seconds=0)


@pytest.mark.parametrize("dies_at", [1, 2, 3])
def test_a_budget_of_judgements_stops_a_killed_sweep_where_it_stops_an_undisturbed_one(
    open_sweep, watcher, monkeypatch, dies_at
):
    """The trial that was killed had been begun within the budget, so it is finished although its calls are paid."""
    monkeypatch.setattr(judging, "QUERIES_PER_CALL", 10)
    config = {"budget": {"trials": None, "judge_calls": 15}, "racing": {"blocks": []}}
    whole = open_sweep("whole", **config)
    expected = whole.sweep.run(watcher)
    assert len(expected.records) == 1
    for _ in range(2):
        part = open_sweep("parts", MortalEngine(dies_at), **config)
        with pytest.raises(KilledError):
            part.sweep.run(watcher)
    assert _facts(open_sweep("parts", **config).sweep.run(watcher).records) == _facts(expected.records)


@pytest.mark.parametrize(
    ("budget", "spent", "said"),
    [
        ({"trials": 5}, Spent(), "budget of 5 trials"),
        ({"trials": None, "judge_calls": 1000}, Spent(judgements=1000), "budget of 1,000 judge calls"),
        ({"trials": None, "tokens": 2_500_000}, Spent(tokens_computed=2_500_001), "budget of 2,500,000 tokens"),
        ({"trials": None, "seconds": 1.5}, Spent(seconds=2.0), "budget of 1.5 seconds"),
        ({"trials": 6, "judge_calls": 10, "tokens": 10, "seconds": 10}, Spent(9, 9, 99, 9.9), ""),
        ({"trials": None}, Spent(10**9, 10**9, 10**9, 10**9), ""),
    ],
)
def test_the_first_limit_reached_is_named(budget, spent, said):
    assert limit_reached(BudgetConfig.model_validate(budget), 5, spent) == said


@pytest.mark.parametrize("budget", [{"judge_calls": 200}, {"tokens": 3000}, {"seconds": 0.001}])
def test_each_kind_of_budget_ends_a_sweep(open_sweep, watcher, budget):
    parts = open_sweep(budget={"trials": None, **budget})
    result = parts.sweep.run(watcher)
    (name, limit), *_ = budget.items()
    assert result.stopped_by == f"budget of {limit:,.12g} {name.replace('_', ' ')}"
    spent = parts.judge.spent
    reached = {"judge_calls": spent.judgements, "tokens": spent.tokens_computed, "seconds": spent.seconds}
    assert reached[name] >= limit


def test_repeats_are_free_and_end_a_sweep_of_a_small_space(open_sweep, watcher, make_space, monkeypatch):
    monkeypatch.setattr(sweep, "MAX_REPEATS_IN_A_ROW", 7)
    parts = open_sweep(space=make_space(**TINY), budget={"trials": 5})
    result = parts.sweep.run(watcher)
    distinct = [r for r in result.records if r.repeats is None]
    assert len(distinct) == 2
    assert result.stopped_by == "the last 7 proposals were all tried before"
    assert parts.engine.queries_seen <= 2 * len(parts.cases)
    for record in result.records:
        if record.repeats is not None:
            first = next(r for r in distinct if r.number == record.repeats)
            assert _facts([record])[0][:5] == _facts([first])[0][:5]
    again = open_sweep(space=make_space(**TINY), budget={"trials": 5}).sweep.run(watcher)
    assert again == result, "a resumed sweep does not go on proposing what was tried"


def test_a_prompt_that_does_not_fit_is_recorded_and_the_sweep_goes_on(open_sweep, watcher, make_space):
    space = make_space(demos={"counts": [0]})
    parts = open_sweep(engine=NarrowEngine(40), space=space, budget={"trials": 12})
    result = parts.sweep.run(watcher)
    silent = [r for r in result.records if r.repeats is None and r.unjudged == r.cases]
    assert silent
    for record in silent:
        assert not record.complete
        assert record.values == record.rungs == ()
        assert record.metrics["auprc"] is None
        assert record.unjudged_reason == "the prompt does not fit the context"
        assert record.cases == 16, "it is not asked about the rest"
    assert {r.candidate.choices["policy"] for r in silent} == {"full"}
    assert result.ranked
    assert open_sweep(engine=NarrowEngine(40), space=space, budget={"trials": 12}).sweep.run(watcher) == result


def test_a_judge_without_any_verdict_gives_a_clear_error(open_sweep, watcher):
    parts = open_sweep(engine=NarrowEngine(3), budget={"trials": 3})
    with pytest.raises(UserError) as caught:
        parts.sweep.run(watcher)
    message = str(caught.value)
    assert "the judge gave no verdict on any of the 16 cases" in message
    assert "the prompt does not fit the context" in message
    assert "budget of 3 trials" in message
    assert "max_item_tokens" in message


def test_a_search_split_without_violations_gives_a_clear_error(open_sweep, watcher, make_case):
    cases = [make_case(i, False) for i in range(30)]
    parts = open_sweep(cases=cases, demo_pool=0, budget={"trials": 2})
    with pytest.raises(UserError, match="none of 2 candidates was scored on every search case"):
        parts.sweep.run(watcher)


def test_a_budget_spent_by_an_earlier_sweep_gives_a_clear_error(open_sweep, watcher):
    parts = open_sweep(budget={"trials": None, "judge_calls": 10})
    parts.store.write("e", {}, study="sweep", cost=Spent(judgements=11))
    with pytest.raises(UserError, match="no candidate was tried"):
        parts.sweep.run(watcher)


def test_rare_violations_do_not_stop_a_sweep(open_sweep, watcher, make_case):
    """A first block of sixteen cases in proportion would hold no violation at all."""
    cases = [make_case(i, i % 40 == 0, group=f"g{i}") for i in range(200)]
    result = open_sweep(cases=cases, demo_pool=0, budget={"trials": 3}).sweep.run(watcher)
    assert all(r.rungs for r in result.records)


def test_several_objectives_judge_everyone_in_full(open_sweep, watcher):
    parts = open_sweep(objective={"names": ["auprc", "tokens"]}, budget={"trials": 4})
    result = parts.sweep.run(watcher)
    assert len(parts.sweep.blocks) == 1
    for record in result.ranked:
        assert record.values == (record.metrics["auprc"], record.metrics["tokens_per_case"])
    again = open_sweep(objective={"names": ["auprc", "tokens"]}, budget={"trials": 4})
    assert again.sweep.run(watcher) == result


def test_the_fewest_tokens_win_where_that_is_the_objective(open_sweep, watcher):
    result = open_sweep(objective={"names": ["tokens"]}, budget={"trials": 12}).sweep.run(watcher)
    tokens = [r.values[0] for r in result.ranked]
    assert tokens == sorted(tokens)
    dropped = [r.rungs[0] for r in result.records if not r.complete]
    assert dropped
    assert max(dropped) > min(r.rungs[0] for r in result.records)
    assert min(r.rungs[0] for r in result.records) in {r.rungs[0] for r in result.ranked}
