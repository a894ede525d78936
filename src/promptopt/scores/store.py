"""Label log-probabilities by (engine fingerprint, lowered prompt digest, case digest), in SQLite or PostgreSQL.

The store lies outside Optuna. Every write is one transaction that holds a whole engine call, so a process that is
killed leaves either all of a call's scores or none, and a resumed sweep finds exactly what was paid for.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from promptopt.core.addresses import without_credentials
from promptopt.core.sqlite import configure_sqlite
from promptopt.errors import UserError

_METADATA = sa.MetaData()
_PROMPTS = sa.Table(
    "judged_prompts",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("engine", sa.String(64), nullable=False),
    sa.Column("prompt", sa.String(64), nullable=False),
    sa.UniqueConstraint("engine", "prompt"),
)
_SCORES = sa.Table(
    "scores",
    _METADATA,
    sa.Column("prompt_id", sa.Integer, sa.ForeignKey("judged_prompts.id"), primary_key=True),
    sa.Column("case_digest", sa.String(64), primary_key=True),
    sa.Column("logprobs", sa.LargeBinary, nullable=False),
    sa.Column("dropped_tokens", sa.Integer, nullable=False),
)
_CALLS = sa.Table(
    "engine_calls",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study", sa.String(200), nullable=False, index=True),
    sa.Column("judgements", sa.Integer, nullable=False),
    sa.Column("tokens_computed", sa.BigInteger, nullable=False),
    sa.Column("tokens_submitted", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Float, nullable=False),
)
_LOOKUP_BLOCK = 500
_SQLITE = "sqlite:///"
_INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}
_OPENING_TRIES = 5


@dataclass(frozen=True, slots=True)
class StoredScore:
    """What a judge said of one case under one prompt.

    Attributes:
        logprobs: float32 of shape (labels,): natural log-probabilities over the prompt's labels.
        dropped_tokens: Case tokens that the judge did not read.
    """

    logprobs: npt.NDArray[np.float32]
    dropped_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """What a study has paid for, over all its processes.

    Attributes:
        judgements: Queries scored.
        tokens_computed: Tokens that went through the model.
        tokens_submitted: Tokens of the queries, each counted in full.
        seconds: Time inside the engine.
    """

    judgements: int = 0
    tokens_computed: int = 0
    tokens_submitted: int = 0
    seconds: float = 0.0


class ScoreStore:
    """Scores in a relational database.

    Args:
        url: SQLAlchemy URL (``sqlite:///runs/scores.db``, ``postgresql+psycopg://...``).

    Raises:
        UserError: The database cannot be opened.
    """

    def __init__(self, url: str) -> None:
        self._address = without_credentials(url)
        try:
            if url.startswith(_SQLITE):
                file = url.removeprefix(_SQLITE).partition("?")[0]
                Path(file).parent.mkdir(parents=True, exist_ok=True)
            self._engine = sa.create_engine(url)
            if self._engine.dialect.name not in _INSERTS:
                raise self._fault(f"is a {self._engine.dialect.name} database, not SQLite or PostgreSQL")
            if self._engine.dialect.name == "sqlite":
                sa.event.listen(self._engine, "connect", configure_sqlite)
            _create_tables(self._engine)
        except (sa.exc.SQLAlchemyError, OSError, ImportError) as cause:
            raise self._fault(f"cannot be opened ({_reason(cause)})") from cause

    def read(self, engine: str, prompt: str, cases: Sequence[str]) -> dict[str, StoredScore]:
        """Scores known for a prompt.

        Args:
            engine: Engine fingerprint.
            prompt: Lowered prompt digest.
            cases: Case digests.

        Returns:
            Case digest to score, for the cases that have one.
        """
        found: dict[str, StoredScore] = {}
        with self._reading() as connection:
            prompt_id = connection.scalar(_prompt_query(engine, prompt))
            if prompt_id is None:
                return found
            for start in range(0, len(cases), _LOOKUP_BLOCK):
                block = cases[start : start + _LOOKUP_BLOCK]
                query = sa.select(_SCORES.c.case_digest, _SCORES.c.logprobs, _SCORES.c.dropped_tokens)
                query = query.where(_SCORES.c.prompt_id == prompt_id, _SCORES.c.case_digest.in_(block))
                for digest, logprobs, dropped in connection.execute(query):
                    found[digest] = StoredScore(np.frombuffer(logprobs, dtype="<f4").astype(np.float32), dropped)
        return found

    def write(
        self,
        engine: str,
        scores: Mapping[str, Mapping[str, StoredScore]],
        *,
        study: str = "",
        cost: Spent | None = None,
    ) -> None:
        """Writes one engine call; scores that are already there stay as they are.

        Args:
            engine: Engine fingerprint.
            scores: Prompt digest to case digest to score.
            study: The study that paid.
            cost: What the call cost; recorded in the same transaction.

        Raises:
            UserError: The database refuses (a full disk, a lost server); nothing of the call is stored.
        """
        with self._writing() as connection:
            for prompt, by_case in sorted(scores.items()):  # in one order, so that writers cannot lock each other out
                if not by_case:
                    continue
                prompt_id = self._prompt_id(connection, engine, prompt)
                rows = [
                    {
                        "prompt_id": prompt_id,
                        "case_digest": case,
                        "logprobs": score.logprobs.astype("<f4").tobytes(),
                        "dropped_tokens": score.dropped_tokens,
                    }
                    for case, score in sorted(by_case.items())
                ]
                connection.execute(self._insert(_SCORES), rows)
            if cost is not None:
                values = {name: getattr(cost, name) for name in Spent.__dataclass_fields__}
                connection.execute(sa.insert(_CALLS), {"study": study, **values})

    def spent(self, study: str) -> Spent:
        """What a study has paid for so far."""
        columns = [sa.func.coalesce(sa.func.sum(_CALLS.c[name]), 0) for name in Spent.__dataclass_fields__]
        with self._reading() as connection:
            row = connection.execute(sa.select(*columns).where(_CALLS.c.study == study)).one()
        return Spent(int(row[0]), int(row[1]), int(row[2]), float(row[3]))

    def dump(self) -> Iterator[tuple[str, str, str, bytes]]:
        """Every score as (engine, prompt, case, float32 bytes), sorted; for comparing stores."""
        query = (
            sa.select(_PROMPTS.c.engine, _PROMPTS.c.prompt, _SCORES.c.case_digest, _SCORES.c.logprobs)
            .join(_SCORES, _SCORES.c.prompt_id == _PROMPTS.c.id)
            .order_by(_PROMPTS.c.engine, _PROMPTS.c.prompt, _SCORES.c.case_digest)
        )
        with self._reading() as connection:
            yield from (tuple(row) for row in connection.execute(query))

    def close(self) -> None:
        """Releases the database connections."""
        self._engine.dispose()

    def _prompt_id(self, connection: sa.Connection, engine: str, prompt: str) -> int:
        query = _prompt_query(engine, prompt)
        known = connection.execute(query).scalar_one_or_none()
        if known is None:
            connection.execute(self._insert(_PROMPTS), {"engine": engine, "prompt": prompt})
            known = connection.execute(query).scalar_one()
        return known

    def _insert(self, table: sa.Table) -> Any:
        return _INSERTS[self._engine.dialect.name](table).on_conflict_do_nothing()

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except sa.exc.DBAPIError as cause:
            raise self._fault(f"cannot be read ({_reason(cause)})") from cause

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.OperationalError as cause:
            raise self._fault(f"cannot be written ({_reason(cause)})") from cause

    def _fault(self, what: str) -> UserError:
        return UserError(f"the score store {what}", where=self._address, remedy="check scores_url")


def _prompt_query(engine: str, prompt: str) -> sa.Select[int]:
    return sa.select(_PROMPTS.c.id).where(_PROMPTS.c.engine == engine, _PROMPTS.c.prompt == prompt)


def _create_tables(engine: sa.Engine) -> None:
    """Makes the tables, also when several processes do so at once: the loser looks again and finds them."""
    for left in reversed(range(_OPENING_TRIES)):
        try:
            _METADATA.create_all(engine)
            return
        except sa.exc.DBAPIError:
            if not left:
                raise
            time.sleep(0.1)


def _reason(cause: BaseException) -> str:
    """What the database says, on one line, without the statement and without its parameters."""
    origin = getattr(cause, "orig", None) or cause
    return without_credentials(" ".join(str(origin).split())[:160])
