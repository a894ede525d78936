"""How every SQLite file of the project is opened."""

from __future__ import annotations

from typing import Any


def configure_sqlite(connection: Any, _record: Any) -> None:
    """A listener of SQLAlchemy's ``connect``: with a write-ahead log a transaction need not wait for the disk, and a
    killed process still loses none; other processes are waited for, 30 seconds at most.

    Args:
        connection: The database driver's connection.
    """
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()
