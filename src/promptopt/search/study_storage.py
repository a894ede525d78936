"""Opens the database of a study.

A new SQLite file begins as a copy of an empty one that Optuna made, which is kept in the user's cache: to make its
tables Optuna has Alembic read all its migrations three times, a tenth of a second and more: a percent of a short sweep.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

# Alembic is imported with everything else: Optuna would do so in the middle of a sweep, when it makes a database.
import alembic.command
import alembic.migration
import alembic.script  # noqa: F401
import optuna
import sqlalchemy as sa
from optuna.exceptions import OptunaError
from optuna.storages import RDBStorage

from promptopt.core.addresses import without_credentials
from promptopt.core.sqlite import configure_sqlite
from promptopt.engines.folders import cache_folder
from promptopt.errors import UserError

_SQLITE = "sqlite:///"


def open_study(name: str, url: str, directions: Sequence[str]) -> tuple[RDBStorage, optuna.Study]:
    """Opens a study, or makes it where there is none.

    Args:
        name: Name of the study.
        url: Storage URL (SQLite or any database that Optuna's RDBStorage takes).
        directions: Optuna directions, one per objective.

    Returns:
        The storage and its study.

    Raises:
        UserError: The storage cannot be opened.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("alembic").setLevel(logging.ERROR)
    try:
        storage = _open_storage(url)
        study = optuna.create_study(study_name=name, storage=storage, directions=list(directions), load_if_exists=True)
        return storage, study
    except (OSError, ImportError, ValueError, RuntimeError, OptunaError, sa.exc.SQLAlchemyError) as cause:
        origin = getattr(cause, "orig", None) or cause
        reason = without_credentials(" ".join(str(origin).split())[:160])
        raise UserError(
            f"the study cannot be opened ({reason})", where=without_credentials(url), remedy="check study_url"
        ) from cause


def _open_storage(url: str) -> RDBStorage:
    if not url.startswith(_SQLITE):
        return RDBStorage(url)
    file = Path(url.removeprefix(_SQLITE).partition("?")[0])
    if file.name == ":memory:":
        raise ValueError("a database in memory ends with its connection")
    file.parent.mkdir(parents=True, exist_ok=True)
    is_copy = _put_empty_database(file)
    # What Optuna has just made needs neither tables nor a look at their version.
    storage = RDBStorage(url, skip_table_creation=is_copy, skip_compatibility_check=is_copy)
    sa.event.listen(storage.engine, "connect", configure_sqlite)
    storage.engine.dispose()  # the connection from before has not its settings
    return storage


def _put_empty_database(file: Path) -> bool:
    """Puts a copy of the empty database where there is no file yet.

    Returns:
        False where there is one, also one that another process put there just now, and where copies cannot be made:
        without a cache that can be written, or without hard links, Optuna makes its tables.
    """
    if file.exists():
        return False
    try:
        template = _empty_database()
        with tempfile.TemporaryDirectory(prefix=".study-", dir=file.parent) as folder:
            copy = Path(folder) / "study.db"
            shutil.copyfile(template, copy)
            os.link(copy, file)  # a rename would replace what another process has put there
    except (OSError, sa.exc.SQLAlchemyError):
        return False
    return True


def _empty_database() -> Path:
    """An empty database with Optuna's tables, made when this version of Optuna is used for the first time."""
    kept = cache_folder() / f"optuna-{optuna.__version__}.db"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".optuna-", dir=kept.parent) as folder:
            made = Path(folder) / "empty.db"
            RDBStorage(f"{_SQLITE}{made}").engine.dispose()
            made.replace(kept)
    return kept
