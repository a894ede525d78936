"""Every search method keeps its contract, and the meter counts alike for all of them."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest

from promptopt.bench.search_methods import OWN, make_method, method_names
from promptopt.core.case import Split
from promptopt.engines.base import Generation
from promptopt.engines.fake import FakeEngine
from promptopt.errors import ConfigError
from promptopt.metrics.ranking import average_precision
from promptopt.scores.store import ScoreStore
from promptopt.search.baselines import registry
from promptopt.search.baselines.base import BudgetSpentError, Meter, SearchTask
from promptopt.search.blocks import demo_pool
from promptopt.search.candidates import CandidateMaker
from promptopt.search.config import SearchConfig
from promptopt.search.judging import StoredJudge
from promptopt.search.winner import WinnerConfig
from promptopt.testing.search_method import check_search_method

RACES = SearchConfig.model_validate({"racing": {"lockstep": {"field": 5, "first_block": 8, "min_positives": 4}}})


@pytest.fixture
def make_task(tmp_path, policy, golden, make_space):
    numbers = itertools.count()

    def make(judgements, seed):
        space = make_space(shapes=["direct"])
        pool, cases = demo_pool(golden.split(Split.SEARCH), 12, seed)
        engine = FakeEngine()
        store = ScoreStore(f"sqlite:///{tmp_path / f'{next(numbers)}.db'}")
        meter = Meter(StoredJudge(engine, store, "test"), engine, judgements)
        return SearchTask(policy, space, CandidateMaker(policy, space, pool), pool, cases, meter, seed)

    return make


@pytest.mark.parametrize("name", method_names())
def test_methods_keep_their_contract(name, make_task, capsys, caplog):
    if name == "promptolution":
        pytest.importorskip("promptolution")
    check_search_method(lambda: make_method(name, RACES), make_task)
    assert capsys.readouterr() == ("", ""), "a method reports through its result"
    said = [record for record in caplog.records if record.name.startswith("promptolution")]
    assert not [record for record in said if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("name", [OWN, "random", "tpe"])
def test_searches_find_better_than_the_seed_prompt(name, make_task):
    task = make_task(700, 1)
    best_wins = RACES.model_copy(update={"winner": WinnerConfig(seed_alpha=None)})
    found = make_method(name, best_wins).search(task)
    labels = np.array([case.is_violation for case in task.cases])

    def auprc(program):
        free = make_task(10**6, 1).meter
        return average_precision(labels, free.scores(program.lower(), program.procedure, task.cases))

    assert auprc(found) > auprc(task.seed_program())


class SilentEngine(FakeEngine):
    """Writes nothing."""

    def generate(self, requests):
        return [Generation("", 0, "failed", "out of memory") for _ in requests]


def test_capo_ends_where_its_children_are_what_was_judged(make_task):
    task = make_task(10_000, 0)
    task.meter.engine = SilentEngine()
    without = SearchTask(task.policy, task.space, task.maker, (), task.cases, task.meter, 0)
    program = make_method("capo", RACES).search(without)
    assert 0 < without.meter.spent < 10_000
    assert program.lower()


class BreakingEngine(FakeEngine):
    """Breaks when it is to write."""

    def generate(self, requests):
        raise RuntimeError("a bug")


def test_promptolution_hides_no_bug(make_task):
    """The package ends its search on any exception, and logs it where nobody looks."""
    pytest.importorskip("promptolution")
    task = make_task(500, 0)
    task.meter.engine = BreakingEngine()
    with pytest.raises(RuntimeError, match="a bug"):
        make_method("promptolution", RACES).search(task)


def test_promptolution_ends_without_demonstrations_too(make_task):
    pytest.importorskip("promptolution")
    task = make_task(120, 0)
    without = SearchTask(task.policy, task.space, task.maker, (), task.cases, task.meter, 0)
    program = make_method("promptolution", RACES).search(without)
    assert 0 < without.meter.spent <= 120
    assert program.lower()


def test_a_method_whose_package_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setattr(registry, "import_module", _without_promptolution)
    with pytest.raises(ConfigError, match=r"needs the package promptolution.*pip install 'promptopt\[promptolution\]'"):
        make_method("promptolution", RACES)


def _without_promptolution(name):
    raise ModuleNotFoundError("No module named 'promptolution'", name="promptolution.llms")


def test_a_sweep_for_seconds_is_refused_where_nobody_times_the_judge():
    timed = SearchConfig.model_validate({"objective": {"names": ["auprc", "seconds"]}})
    with pytest.raises(ConfigError, match="does not time the judge"):
        make_method(OWN, timed)


def test_a_method_that_does_not_exist_is_named():
    with pytest.raises(ConfigError, match="no search method 'bayes'"):
        make_method("bayes", RACES)


def test_the_meter_counts_each_pair_once_and_refuses_what_is_not_left(make_task):
    task = make_task(20, 0)
    program = task.seed_program()
    prompts, procedure = program.lower(), program.procedure
    first = task.meter.scores(prompts, procedure, task.cases[:12])
    assert task.meter.spent == 12
    assert np.array_equal(task.meter.scores(prompts, procedure, task.cases[:12]), first)
    assert task.meter.spent == 12
    assert task.meter.price(prompts, task.cases[:15]) == 3
    with pytest.raises(BudgetSpentError, match="9 judgements wanted, 8 left"):
        task.meter.scores(prompts, procedure, task.cases[:21])
    assert (task.meter.spent, task.meter.left) == (12, 8)
    assert task.meter.tokens > 0
