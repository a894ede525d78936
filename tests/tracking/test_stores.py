"""A store that cannot be used is named at once."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from promptopt.errors import ConfigError
from promptopt.tracking.base import TrackingStoreError
from promptopt.tracking.stores import check_server, prepare_sqlite, without_credentials


def test_the_folder_of_a_database_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    assert prepare_sqlite(f"sqlite:///{folder / 'mlflow.db'}") == folder
    assert prepare_sqlite(f"sqlite:///{folder / 'mlflow.db'}?timeout=5") == folder
    assert folder.is_dir()


def test_a_relative_address_is_taken_from_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert prepare_sqlite("sqlite:///runs/mlflow.db") == tmp_path / "runs"


def test_an_address_without_a_file_is_a_user_error(tmp_path: Path) -> None:
    for uri in ("sqlite:///", f"sqlite:///{tmp_path}"):
        with pytest.raises(ConfigError, match="names no database file"):
            prepare_sqlite(uri)


def test_a_file_that_is_no_database_is_a_user_error(tmp_path: Path) -> None:
    file = tmp_path / "notes.db"
    file.write_text("not a database, but long enough to be read as one" * 10)
    with pytest.raises(TrackingStoreError, match=r"notes\.db.*not a database"):
        prepare_sqlite(f"sqlite:///{file}")


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TrackingStoreError, match="cannot be opened"):
        prepare_sqlite(f"sqlite:///{tmp_path / 'file' / 'runs' / 'mlflow.db'}")


def test_no_server_is_said_at_once() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        started = time.monotonic()
        with pytest.raises(TrackingStoreError, match="no tracking server answers") as caught:
            check_server(f"http://name:secret@127.0.0.1:{port}", seconds=2)
    assert time.monotonic() - started < 5
    assert "secret" not in str(caught.value)
    assert "mlflow server" in str(caught.value)


def test_credentials_are_not_shown() -> None:
    assert without_credentials("https://u:p@host:5000/x") == "https://host:5000/x"
    assert without_credentials("sqlite:////a/b.db") == "sqlite:////a/b.db"
