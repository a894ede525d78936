"""The record of a sweep: an Optuna study that a killed process leaves ready to resume.

Every proposal is a function of the sweep's seed and the trials finished before it, never of the state of a process. A
trial that a killed process left running is set aside and its point is proposed again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy as sa
from optuna.distributions import distribution_to_json
from optuna.exceptions import OptunaError
from optuna.trial import FrozenTrial, TrialState
from pydantic import Field

from promptopt.core.addresses import without_credentials
from promptopt.core.candidate import Candidate, Choice
from promptopt.core.digest import canonical_json
from promptopt.core.model import FrozenModel
from promptopt.errors import StudyMismatchError, UserError
from promptopt.search.config import SamplerConfig
from promptopt.search.proposers.base import Proposal
from promptopt.search.sampling import Proposals
from promptopt.search.space import SearchSpace

_IDENTITY = "promptopt.identity"
_RECORD = "promptopt.record"
_RACE = "promptopt.race."
_PROPOSALS = "promptopt.proposals."
_SQLITE = "sqlite:///"


class TrialRecord(FrozenModel):
    """What a finished trial leaves behind.

    Attributes:
        number: Optuna's trial number.
        candidate: The candidate tried.
        complete: True when it was scored on every search case, False when racing dropped it.
        values: The objectives' values on the cases it was scored on; empty when it could not be measured.
        rungs: First objective after each block.
        metrics: Metric name to value on the cases it was scored on.
        cases: Cases it was scored on.
        unjudged: Cases without a verdict among them.
        unjudged_reason: Why the first of those has none.
        repeats: Number of the earlier trial with the same candidate, if any.
        point: The point of the space that was proposed; the candidate has no place for dimensions that do not count.
        source: Name of the proposer.
        constraints: Constraint name to its value, feasible at or below 0; empty unless complete.
    """

    number: int
    candidate: Candidate
    complete: bool
    values: tuple[float, ...]
    rungs: tuple[float, ...]
    metrics: dict[str, float | None] = Field(default_factory=dict)
    cases: int
    unjudged: int
    unjudged_reason: str | None = None
    repeats: int | None = None
    point: dict[str, Choice] = Field(default_factory=dict)
    source: str = "tpe"
    constraints: dict[str, float] = Field(default_factory=dict)

    @property
    def feasible(self) -> bool:
        """Whether no constraint is broken."""
        return all(value <= 0 for value in self.constraints.values())


class SweepStudy:
    """An Optuna study of one search space.

    Args:
        name: Name of the study.
        url: Storage URL (SQLite or any database that Optuna's RDBStorage takes).
        space: The search space.
        identity: What the study's results depend on: name to digest or value. A study is resumed only with an equal
            identity.
        directions: Optuna directions, one per objective.
        sampler: How points are proposed.
        seed: Seed of the proposals.

    Raises:
        StudyMismatchError: The stored study has another identity; says what differs.
        UserError: The storage cannot be opened.
    """

    def __init__(
        self,
        name: str,
        url: str,
        space: SearchSpace,
        *,
        identity: Mapping[str, Any],
        directions: Sequence[str],
        sampler: SamplerConfig,
        seed: int,
    ) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        self._space = space
        self._single = len(directions) == 1
        self._open: dict[int, int] = {}
        self._storage, self._study = _open(name, url, directions)
        self._study_id = self._storage.get_study_id_from_name(name)
        tables = sa.MetaData()
        self._parameters = sa.Table("trial_params", tables, autoload_with=self._storage.engine, resolve_fks=False)
        self._trials = sa.Table("trials", tables, autoload_with=self._storage.engine, resolve_fks=False)
        self._check_identity(name, identity)
        self._settle_abandoned()
        trials = self._study.get_trials(deepcopy=False)
        self._records = [_record_of(trial) for trial in trials if _RECORD in trial.user_attrs]
        self._begun = len(trials)
        self._proposals = Proposals(space.dimensions, directions, sampler, seed, trials)

    def records(self) -> list[TrialRecord]:
        """Finished trials in the order of their numbers."""
        return sorted(self._records, key=lambda record: record.number)

    @property
    def has_interrupted_trial(self) -> bool:
        """True when the last trial that was begun has no record, because its process ended in the midst of it."""
        return self._begun > 0 and all(record.number != self._begun - 1 for record in self._records)

    def ask(self, point: Mapping[str, Choice] | None = None) -> tuple[int, dict[str, Choice]]:
        """The next point: the first on record is the space's seed point, later ones come from the sampler.

        Several may be asked for before the first of them is told.

        Args:
            point: Another proposer's point, which goes on record in place of one of the sampler's.

        Returns:
            The trial's number and its point.

        Raises:
            UserError: Somebody else has written trials in the meantime.
        """
        if not self._records and not self._open:
            point = self._space.seed_point()
        asked = self._proposals.ask(len(self._records), point)
        trial = self._storage.create_new_trial(self._study_id)
        if (number := self._number_of(trial)) != asked.number:
            raise UserError(
                f"the study has a trial {number} that this sweep did not begin",
                where=self._study.study_name,
                remedy="run one sweep at a time in a study, and start this one again",
            )
        self._write_parameters(trial, asked)
        self._open[number], self._begun = trial, number + 1
        return number, self._proposals.point_of(asked)

    def remembered(self, finished: int, propose: Callable[[], Sequence[Proposal]]) -> list[Proposal]:
        """The proposals made when so many trials were finished; the first call makes and stores them."""
        key = f"{_PROPOSALS}{finished}"
        if key not in self._study.user_attrs:
            made = [{"point": dict(p.point), "texts": dict(p.texts), "source": p.source} for p in propose()]
            self._study.set_user_attr(key, made)
        return [Proposal(**stored) for stored in self._study.user_attrs[key]]

    def tell(self, record: TrialRecord) -> None:
        """Finishes a trial. The record is written first: a process killed in between leaves a trial that the next
        one finishes from its record."""
        trial = self._open.pop(record.number)
        self._storage.set_trial_user_attr(trial, _RECORD, canonical_json(record))
        self._records.append(record)
        self._finish(trial, record)
        state, values, last = self._ending(record)
        self._proposals.constrain(record.number, record.constraints)
        self._proposals.tell(record.number, state, values, last)

    def tell_race(self, records: Sequence[TrialRecord]) -> None:
        """Finishes all trials of a race. Their records are first written as one: a process that is killed in between
        leaves either no trial of the race or all of them."""
        if records:
            self._study.set_user_attr(f"{_RACE}{records[0].number}", [canonical_json(record) for record in records])
        for record in records:
            self.tell(record)

    def close(self) -> None:
        """Releases the database; SQLite then folds its write-ahead log into the file."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _number_of(self, trial: int) -> int:
        """A trial's number, without all else that Optuna reads to tell it."""
        query = sa.select(self._trials.c.number).where(self._trials.c.trial_id == trial)
        with self._storage.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def _write_parameters(self, trial: int, asked: FrozenTrial) -> None:
        """Writes a new trial's parameters as Optuna would, in one statement: Optuna looks up the trial, and the
        parameter in earlier trials, for each of them."""
        rows = [
            {
                "trial_id": trial,
                "param_name": name,
                "param_value": distribution.to_internal_repr(asked.params[name]),
                "distribution_json": distribution_to_json(distribution),
            }
            for name, distribution in asked.distributions.items()
        ]
        if rows:
            with self._storage.engine.begin() as connection:
                connection.execute(sa.insert(self._parameters), rows)

    def _finish(self, trial: int, record: TrialRecord) -> None:
        """Brings the stored trial to its end; does no harm to one that was brought there in part."""
        state, values, last = self._ending(record)
        if record.constraints:
            stored = optuna.Trial(self._study, trial)
            for name, value in record.constraints.items():
                stored.set_constraint(name, value)
        if last is not None:
            self._storage.set_trial_intermediate_value(trial, *last)
        self._storage.set_trial_state_values(trial, state, values)

    def _ending(self, record: TrialRecord) -> tuple[TrialState, list[float] | None, tuple[int, float] | None]:
        """State, objectives, and step and value of the last block, as Optuna knows them."""
        if record.complete:
            return TrialState.COMPLETE, list(record.values), None
        if not self._single:
            return TrialState.FAIL, None, None
        return TrialState.PRUNED, None, (len(record.rungs) - 1, record.rungs[-1]) if record.rungs else None

    def _check_identity(self, name: str, identity: Mapping[str, Any]) -> None:
        wanted = dict(identity)
        stored = self._study.user_attrs.get(_IDENTITY)
        if stored is None:
            self._study.set_user_attr(_IDENTITY, wanted)
            return
        differing = [key for key in sorted(wanted.keys() | stored.keys()) if wanted.get(key) != stored.get(key)]
        if differing:
            shown = ", ".join(
                f"{key} (was {_short(stored.get(key))}, is {_short(wanted.get(key))})" for key in differing
            )
            raise StudyMismatchError(
                f"sweep {name!r} was started with another {shown}", remedy="set name=... to start a new sweep"
            )

    def _settle_abandoned(self) -> None:
        """Finishes trials of a killed process that have a record, and sets the others aside."""
        races = [texts for name, texts in self._study.user_attrs.items() if name.startswith(_RACE)]
        raced = {r.number: r for texts in races for r in map(TrialRecord.model_validate_json, texts)}
        for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            record = _record_of(frozen) if _RECORD in frozen.user_attrs else raced.get(frozen.number)
            if record is None:
                self._storage.set_trial_state_values(frozen._trial_id, TrialState.FAIL)
                continue
            self._storage.set_trial_user_attr(frozen._trial_id, _RECORD, canonical_json(record))
            self._finish(frozen._trial_id, record)


def _record_of(trial: FrozenTrial) -> TrialRecord:
    return TrialRecord.model_validate_json(trial.user_attrs[_RECORD])


def _open(name: str, url: str, directions: Sequence[str]) -> tuple[optuna.storages.RDBStorage, optuna.Study]:
    try:
        if url.startswith(_SQLITE):
            file = url.removeprefix(_SQLITE).partition("?")[0]
            Path(file).parent.mkdir(parents=True, exist_ok=True)
        storage = optuna.storages.RDBStorage(url)
        if storage.engine.dialect.name == "sqlite":
            sa.event.listen(storage.engine, "connect", _configure_sqlite)
            storage.engine.dispose()  # the connection that made the tables has the settings from before
        study = optuna.create_study(study_name=name, storage=storage, directions=list(directions), load_if_exists=True)
        return storage, study
    except (OSError, ImportError, ValueError, RuntimeError, OptunaError, sa.exc.SQLAlchemyError) as cause:
        origin = getattr(cause, "orig", None) or cause
        reason = without_credentials(" ".join(str(origin).split())[:160])
        raise UserError(
            f"the study cannot be opened ({reason})", where=without_credentials(url), remedy="check study_url"
        ) from cause


def _configure_sqlite(connection: Any, _record: Any) -> None:
    """A trial is some twenty small transactions; with a write-ahead log they need not wait for the disk, and a killed
    process still loses none of them."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=30000")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:10] + "…"
