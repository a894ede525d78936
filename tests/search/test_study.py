"""A study that was killed proposes what an undisturbed one would have proposed."""

from __future__ import annotations

import hashlib
import warnings

import optuna
import pytest
from optuna.trial import TrialState

from promptopt.core.candidate import Candidate
from promptopt.errors import StudyMismatchError, UserError
from promptopt.search import trial_tables
from promptopt.search.config import SamplerConfig
from promptopt.search.pace import Pace
from promptopt.search.study import SweepStudy, TrialRecord

TRIALS = 8


class KilledError(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def open_study(tmp_path, make_space):
    def make(name="study", folder="", directions=("maximize",), sampler="tpe", seed=0, space=None, **identity):
        return SweepStudy(
            name,
            f"sqlite:///{tmp_path / folder / 'study.db'}",
            space or make_space(),
            identity={"golden set": "a" * 64, "seed": seed, **identity},
            directions=list(directions),
            sampler=SamplerConfig(name=sampler, startup=4),
            seed=seed,
        )

    return make


def _record(number, point, objectives=1):
    """What a deterministic sweep would find at a point; a third of the points is dropped."""
    value = int.from_bytes(hashlib.sha256(repr(sorted(point.items())).encode()).digest()[:4], "big") / 2**32
    complete = value > 1 / 3
    values = (value, *([1 - value] * (objectives - 1)))
    return TrialRecord(
        number=number, candidate=Candidate(choices=point), complete=complete, values=values,
        rungs=(value / 2, value) if complete else (value / 2,), metrics={"auprc": value}, cases=10, unjudged=0,
    )  # fmt: skip


def _drive(study, trials=TRIALS, objectives=1):
    while len(study.records()) < trials:
        number, point = study.ask()
        study.tell(_record(number, point, objectives))
    return [record.candidate for record in study.records()]


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_same_seed_proposes_the_same(open_study, sampler):
    first = _drive(open_study(folder="1", sampler=sampler), 7)
    assert _drive(open_study(folder="2", sampler=sampler), 7) == first
    assert _drive(open_study(folder="3", sampler=sampler, seed=1), 3) != first[:3]


def test_the_first_proposal_is_the_seed_point(open_study, make_space):
    space = make_space(seed={"shape": "checklist", "quoting": "tags"})
    study = open_study(space=space)
    assert study.ask()[1] == space.seed_point()


def test_tpe_learns_from_what_it_is_told(open_study):
    """Points with one choice are good; after the start-up that choice is proposed more often than by chance."""
    study = open_study()
    for _ in range(18):
        number, point = study.ask()
        value = 0.9 if point["policy"] == "full" else 0.1
        study.tell(_record(number, point).model_copy(update={"values": (value,), "complete": True}))
    late = [record.candidate.choices["policy"] for record in study.records()[10:]]
    assert late.count("full") >= 6


def _kill_in_ask(study, monkeypatch, objectives=1):
    monkeypatch.setattr(study._tables, "begin", _die)
    study.ask()


def _kill_before_the_parameters(study, monkeypatch, objectives=1):
    """The transaction that begins a trial is never committed."""
    monkeypatch.setattr(trial_tables, "_parameters", _die)
    study.ask()


def _kill_between_suggestions(study, monkeypatch, objectives=1):
    suggest, left = optuna.Trial.suggest_categorical, iter(range(4))

    def suggest_some(trial, name, choices):
        if next(left, None) is None:
            raise KilledError
        return suggest(trial, name, choices)

    monkeypatch.setattr(optuna.Trial, "suggest_categorical", suggest_some)
    study.ask()


def _kill_after_ask(study, monkeypatch, objectives=1):
    study.ask()
    raise KilledError


def _kill_before_the_end(study, monkeypatch, objectives=1):
    number, point = study.ask()
    monkeypatch.setattr(study._tables, "end", _die)
    study.tell(_record(number, point, objectives))


def _kill_in_the_end(study, monkeypatch, objectives=1):
    """The transaction that ends a trial is never committed."""
    number, point = study.ask()
    monkeypatch.setattr(trial_tables, "_facts", _die)
    study.tell(_record(number, point, objectives))


def _kill_after_the_end(study, monkeypatch, objectives=1):
    number, point = study.ask()
    monkeypatch.setattr(study._proposals, "tell", _die)
    study.tell(_record(number, point, objectives))


def _die(*args, **kwargs):
    raise KilledError


KILLS = [
    _kill_in_ask,
    _kill_between_suggestions,
    _kill_before_the_parameters,
    _kill_after_ask,
    _kill_before_the_end,
    _kill_in_the_end,
    _kill_after_the_end,
]


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, make_space):
    def run(objectives):
        folder = tmp_path_factory.mktemp("undisturbed")
        study = SweepStudy(
            "study", f"sqlite:///{folder / 'study.db'}", make_space(), identity={}, seed=0,
            directions=["maximize", "minimize"][:objectives], sampler=SamplerConfig(startup=4),
        )  # fmt: skip
        return _drive(study, objectives=objectives)

    return {objectives: run(objectives) for objectives in (1, 2)}


@pytest.mark.parametrize("order", [KILLS, KILLS[::-1]], ids=["forwards", "backwards"])
@pytest.mark.parametrize("objectives", [1, 2])
def test_killed_studies_end_like_undisturbed_ones(open_study, undisturbed, objectives, order):
    """Every way of dying, before the first trial, between trials and twice in a row."""
    where = {"directions": ("maximize", "minimize")[:objectives]}
    for between, kill in zip([0, 1, 1, 0, 0, 2, 1], order, strict=True):
        study = open_study(**where)
        _drive(study, len(study.records()) + between, objectives)
        with pytest.MonkeyPatch.context() as patch, pytest.raises(KilledError):
            kill(study, patch, objectives)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        study = open_study(**where)
    assert _drive(study, objectives=objectives)[:TRIALS] == undisturbed[objectives]


@pytest.mark.parametrize("kill", KILLS)
def test_a_trial_that_was_begun_and_not_recorded_is_known(open_study, monkeypatch, kill):
    study = open_study()
    _drive(study, 3)
    assert not study.has_interrupted_trial
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        kill(study, patch)
    resumed = open_study()
    recorded = kill is _kill_after_the_end
    unwritten = kill in (_kill_in_ask, _kill_between_suggestions, _kill_before_the_parameters)
    assert resumed.has_interrupted_trial == (not recorded and not unwritten)
    assert len(resumed.records()) == (4 if recorded else 3)
    assert open_study().has_interrupted_trial == resumed.has_interrupted_trial, "a second look changes nothing"


def test_records_come_back_whole(open_study):
    study = open_study()
    number, point = study.ask()
    record = _record(number, point).model_copy(
        update={"metrics": {"auprc": 0.1 + 0.2, "f1": None}, "repeats": 0, "unjudged_reason": "too long — ‘é’"}
    )
    study.tell(record)
    assert open_study().records() == [record]


def test_optuna_reads_the_same_study(open_study, tmp_path):
    """Whoever opens the database with Optuna finds what its own sampler would have written."""
    study = open_study()
    _drive(study, 5)
    (stored,) = optuna.get_all_study_summaries(f"sqlite:///{tmp_path / 'study.db'}")
    trials = optuna.load_study(study_name=stored.study_name, storage=f"sqlite:///{tmp_path / 'study.db'}").trials
    assert [trial.number for trial in trials] == [record.number for record in study.records()]
    for trial, record in zip(trials, study.records(), strict=True):
        varied = {name: choice for name, choice in record.candidate.choices.items() if name in trial.params}
        assert trial.params == varied
        assert len(varied) >= 5
        assert all(trial.params[name] in trial.distributions[name].choices for name in varied)
        assert trial.state is (TrialState.COMPLETE if record.complete else TrialState.PRUNED)


def test_another_identity_is_refused_and_named(open_study):
    open_study(judge="f" * 64, racing="same")
    with pytest.raises(StudyMismatchError) as caught:
        open_study(judge="0" * 64, racing="same", sampler_kind="tpe")
    message = str(caught.value)
    assert "judge (was ffffffffff…, is 0000000000…)" in message
    assert "sampler_kind (was None, is tpe)" in message
    assert "racing" not in message
    assert "set name=..." in message
    open_study(judge="f" * 64, racing="same")


def test_another_number_of_objectives_is_refused_too(open_study):
    open_study(objective="one")
    with pytest.raises(StudyMismatchError, match="objective"):
        open_study(objective="two", directions=("maximize", "minimize"))


def test_pareto_searches_know_dropped_trials_as_failed(open_study):
    study = open_study(directions=("maximize", "minimize"))
    number, point = study.ask()
    study.tell(_record(number, point, 2).model_copy(update={"complete": False, "values": (), "rungs": ()}))
    assert [record.complete for record in open_study(directions=("maximize", "minimize")).records()] == [False]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:secret@127.0.0.1:1/db",
        "nodialect://me:secret@host/db",
        "sqlite:////proc/absent/study.db",
        "no address",
    ],
)
def test_a_storage_that_cannot_be_opened_says_so_and_keeps_passwords(make_space, url):
    with pytest.raises(UserError, match="the study cannot be opened") as caught:
        SweepStudy("s", url, make_space(), identity={}, directions=["maximize"], sampler=SamplerConfig(), seed=0)
    assert "secret" not in str(caught.value)
    assert "study_url" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_second_sweep_in_a_study_ends_the_first(open_study):
    """The second one takes the running trial for abandoned; the first must not overwrite what it finds then."""
    first = open_study()
    number, point = first.ask()
    open_study().ask()
    with pytest.raises(UserError, match=r"somebody else has finished a trial .*0 to 0.* run one sweep at a time"):
        first.tell(_record(number, point))
    with pytest.raises(UserError, match="the study has a trial 1 that this sweep did not begin"):
        first.ask()


def test_a_pace_is_measured_once(open_study):
    first, again = Pace(read=0.001, written=0.02), Pace(read=9.0)
    study = open_study()
    assert study.pace("small", lambda: first) == first
    study.close()
    assert open_study().pace("small", lambda: again) == first
