"""New databases are those that Optuna makes itself, whatever the cache holds and whoever else is about."""

from __future__ import annotations

import os
import sqlite3

import alembic.script
import optuna
import pytest

from promptopt.errors import UserError
from promptopt.search.study_storage import open_study

MAXIMIZE = ["maximize"]


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("PROMPTOPT_CACHE", str(folder))
    return folder


@pytest.fixture
def open_at():
    """Opens a study in a file; all of them are closed in the end."""
    opened = []

    def make(path, name="study"):
        storage, study = open_study(name, f"sqlite:///{path}", MAXIMIZE)
        opened.append(storage)
        return study

    yield make
    for storage in opened:
        storage.remove_session()
        storage.engine.dispose()


def _dump(path):
    """Everything that the database says, tables, indices and rows."""
    connection = sqlite3.connect(path)
    try:
        return list(connection.iterdump())
    finally:
        connection.close()


def _refuse(monkeypatch, owner, name, error):
    def refuse(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(owner, name, refuse)


def test_a_new_database_is_as_optuna_makes_it(cache, tmp_path, open_at):
    plain = tmp_path / "plain.db"
    storage = optuna.storages.RDBStorage(f"sqlite:///{plain}")
    optuna.create_study(study_name="study", storage=storage, directions=MAXIMIZE)
    storage.engine.dispose()
    open_at(tmp_path / "new" / "ours.db")
    assert _dump(tmp_path / "new" / "ours.db") == _dump(plain)
    assert [path.name for path in (tmp_path / "new").iterdir() if path.suffix == ".db"] == ["ours.db"]


def test_the_second_new_database_needs_no_migrations(cache, tmp_path, monkeypatch, open_at):
    open_at(tmp_path / "first.db")
    _refuse(monkeypatch, alembic.script.ScriptDirectory, "from_config", AssertionError("migrations were read"))
    assert open_at(tmp_path / "second.db").trials == []


def test_the_empty_database_stays_empty(cache, tmp_path, open_at):
    open_at(tmp_path / "first.db").add_trial(optuna.trial.create_trial(value=1.0))
    study = open_at(tmp_path / "second.db", "other")
    assert study.trials == []
    assert [one.study_name for one in optuna.get_all_study_summaries(study._storage)] == ["other"]


def test_without_a_cache_optuna_makes_the_tables(tmp_path, monkeypatch, open_at):
    blocked = tmp_path / "cache"
    blocked.write_text("a file where the folder should be", encoding="utf-8")
    monkeypatch.setenv("PROMPTOPT_CACHE", str(blocked))
    assert open_at(tmp_path / "study.db").trials == []


def test_without_hard_links_optuna_makes_the_tables(cache, tmp_path, monkeypatch, open_at):
    _refuse(monkeypatch, os, "link", OSError("not supported"))
    assert open_at(tmp_path / "study.db").trials == []


def test_a_database_that_another_process_makes_meanwhile_is_kept(cache, tmp_path, monkeypatch, open_at):
    ours, link = tmp_path / "ours.db", os.link

    def beaten(source, target):
        monkeypatch.setattr(os, "link", link)
        open_at(target, "theirs")
        link(source, target)

    monkeypatch.setattr(os, "link", beaten)
    study = open_at(ours, "ours")
    assert {one.study_name for one in optuna.get_all_study_summaries(study._storage)} == {"theirs", "ours"}


def test_a_study_in_memory_is_refused(cache, tmp_path, monkeypatch, open_at):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"in memory .*study_url"):
        open_at(":memory:")
    assert not (tmp_path / ":memory:").exists()


def test_a_database_of_another_optuna_is_refused(cache, tmp_path, open_at):
    path = tmp_path / "study.db"
    open_at(path)
    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE alembic_version SET version_num = 'v99.0.0'")
    connection.close()
    with pytest.raises(UserError, match="no longer compatible"):
        open_at(path)
