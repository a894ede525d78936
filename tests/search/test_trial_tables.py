"""What is written a race at a time is what Optuna would have written a fact at a time."""

from __future__ import annotations

from datetime import datetime, timedelta

import optuna
import pytest
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState, create_trial

from promptopt.search.trial_tables import RECORD, Ending, TrialTables

SPACE = {"policy": CategoricalDistribution(("full", "titles")), "demos": CategoricalDistribution((0, 2, None))}
POINTS = ({"policy": "full", "demos": 2}, {"policy": "titles", "demos": None}, {"policy": "titles", "demos": 0})
COMPARED = ("number", "state", "params", "distributions", "values", "intermediate_values", "user_attrs", "system_attrs")


@pytest.fixture(params=["sqlite", "postgresql"])
def study(request, tmp_path):
    """An empty study in a database."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    return optuna.create_study(storage=request.getfixturevalue("postgres_url") if request.param != "sqlite" else url)


@pytest.fixture
def tables(study):
    return TrialTables(study._storage._backend.engine, study._study_id)


def _asked(first=0):
    trials = [create_trial(state=TrialState.RUNNING, params=point, distributions=SPACE) for point in POINTS]
    for number, trial in enumerate(trials, first):
        trial.number = number
    return trials


def _ways_to_end(rows):
    return [
        Ending(rows[0], TrialState.COMPLETE, "{}", (0.5,), constraints={"recall": -0.25, "severity>=3": 0.1}),
        Ending(rows[1], TrialState.PRUNED, '{"é": 1}', (0.1 + 0.2,), last=(3, 0.1 + 0.2)),
        Ending(rows[2], TrialState.FAIL, "{}"),
    ]


def _told_to_optuna():
    """The same trials through Optuna's own interface."""
    study = optuna.create_study()
    for point, ending in zip(POINTS, _ways_to_end((0, 1, 2)), strict=True):
        study.sampler = optuna.samplers.PartialFixedSampler(point, optuna.samplers.RandomSampler())
        trial = study.ask()
        for name, distribution in SPACE.items():
            trial.suggest_categorical(name, distribution.choices)
        for name, value in ending.constraints.items():
            trial.set_constraint(name, value)
        trial.set_user_attr(RECORD, ending.record)
        if ending.last is not None:
            trial.report(ending.last[1], ending.last[0])
        study.tell(trial, [0.5] if ending.state is TrialState.COMPLETE else None, state=ending.state)
    return study.trials


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_race_reads_as_if_optuna_had_been_told_of_it(study, tables):
    before = datetime.now()
    rows = tables.begin(_asked())
    running = study.get_trials(deepcopy=False)
    assert [trial.state for trial in running] == [TrialState.RUNNING] * 3
    assert [trial._trial_id for trial in running] == list(rows.values())
    tables.end(_ways_to_end(list(rows.values())))
    stored, expected = study.trials, _told_to_optuna()
    for name in COMPARED:
        assert [getattr(trial, name) for trial in stored] == [getattr(trial, name) for trial in expected], name
    for trial in stored:
        assert before - timedelta(seconds=2) <= trial.datetime_start <= trial.datetime_complete <= datetime.now()


def test_the_next_race_goes_on_where_the_last_one_ended(study, tables):
    assert list(tables.begin(_asked())) == [0, 1, 2]
    assert list(tables.begin(_asked(3))) == [3, 4, 5]
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("others", [1, 2])
def test_nothing_is_begun_in_a_study_that_others_write_to(study, tables, others):
    for _ in range(others):
        study.ask()
    assert tables.begin(_asked()) is None
    assert [trial.params for trial in study.trials] == [{}] * others


def test_studies_of_one_database_do_not_count_each_other(study, tables):
    other = optuna.create_study(study_name="another", storage=study._storage)
    assert list(TrialTables(study._storage._backend.engine, other._study_id).begin(_asked())) == [0, 1, 2]
    assert list(tables.begin(_asked())) == [0, 1, 2]
    assert [len(one.trials) for one in (study, other)] == [3, 3]


def test_a_race_of_which_somebody_has_ended_a_trial_is_not_ended(study, tables):
    rows = list(tables.begin(_asked()).values())
    study.tell(2, state=TrialState.FAIL)
    assert not tables.end(_ways_to_end(rows))
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING, TrialState.RUNNING, TrialState.FAIL]
    assert all(not trial.user_attrs and not trial.intermediate_values for trial in study.trials)
