"""Checks a store before MLflow opens it, because MLflow retries for minutes before it says that it cannot."""

from __future__ import annotations

import sqlite3
import ssl
from contextlib import closing
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit, urlunsplit
from urllib.request import Request, urlopen

from promptopt.errors import ConfigError
from promptopt.tracking.base import TrackingStoreError

SQLITE = "sqlite:///"
PROBE_SECONDS = 10.0


def prepare_sqlite(uri: str) -> Path:
    """Makes the folder of a SQLite store, and checks that the file in it, if any, is a database one may write.

    Args:
        uri: ``sqlite:///<file>``, relative to the working directory or absolute.

    Returns:
        The folder.

    Raises:
        ConfigError: The address names no file.
        TrackingStoreError: The file is no database, or it or its folder cannot be written.
    """
    path = Path(uri.removeprefix(SQLITE).partition("?")[0])
    if not path.name or path.is_dir():
        raise ConfigError(f"{uri!r} names no database file", where="tracking.uri", remedy="write sqlite:///mlflow.db")
    path = path.resolve()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab"):
            pass
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA schema_version").fetchone()
    except (OSError, sqlite3.DatabaseError) as cause:
        reason = getattr(cause, "strerror", None) or cause
        raise TrackingStoreError(
            f"the tracking store cannot be opened ({reason})", where=path, remedy="correct tracking.uri"
        ) from cause
    return path.parent


def without_credentials(uri: str) -> str:
    """The address without user name and password, for people and messages."""
    parts = urlsplit(uri)
    if "@" not in parts.netloc:
        return uri
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def check_server(uri: str, seconds: float = PROBE_SECONDS) -> None:
    """Asks a server for any answer.

    Args:
        uri: ``http(s)://`` address of a tracking server. An answer of any status will do: access is MLflow's matter.
        seconds: How long to wait.

    Raises:
        TrackingStoreError: Nothing answers there.
    """
    shown = without_credentials(uri)
    try:
        with urlopen(Request(f"{shown.rstrip('/')}/health"), timeout=seconds):  # noqa: S310 (http and https only)
            return
    except HTTPError:
        return
    except (URLError, OSError, ValueError) as cause:
        reason = getattr(cause, "reason", cause)
        if isinstance(reason, ssl.SSLError):
            return
        raise TrackingStoreError(
            f"no tracking server answers ({reason})",
            where=shown,
            remedy="start it with `mlflow server`, or correct tracking.uri",
        ) from cause
