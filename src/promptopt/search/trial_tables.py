"""Optuna's tables, written a race at a time.

Optuna's storage reads a trial again before each fact of it, and writes that fact in a transaction of its own: some
thirty transactions for a trial, hundreds for a race. Here all trials of a race are begun in one transaction and ended
in one, so that a killed process leaves all of them or none. The rows are those that Optuna writes:
its models fill them, and its own code reads them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models  # private, and the schema that every study of Optuna 3 to 5 has
from optuna.study._constrained_optimization import _CONSTRAINTS_KEY
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import orm

RECORD = "promptopt.record"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a trial ended.

    Attributes:
        row: The trial's row.
        state: Its last state.
        record: The record that it leaves behind, JSON.
        values: The objectives; of a dropped trial what Optuna keeps, the value of its last block.
        last: Step and value of the last block, for a dropped one.
        constraints: Constraint name to its value.
    """

    row: int
    state: TrialState
    record: str
    values: Sequence[float] = ()
    last: tuple[int, float] | None = None
    constraints: Mapping[str, float] = field(default_factory=dict)


class TrialTables:
    """The trials of one study.

    Args:
        engine: The database.
        study: The study's row.
    """

    def __init__(self, engine: sa.Engine, study: int) -> None:
        self._session = orm.sessionmaker(engine)
        self._study = study

    def begin(self, trials: Sequence[FrozenTrial]) -> dict[int, int] | None:
        """Begins trials, in one transaction.

        Args:
            trials: One or more with consecutive numbers, after those of all trials on record.

        Returns:
            Number to row; None, and nothing begun, where the study holds trials that are not accounted for.
        """
        with self._session() as session:
            session.execute(_of(models.StudyModel, self._study).with_for_update())  # SQLite locks at the first insert
            now = datetime.now()
            rows = [models.TrialModel(number=t.number, study_id=self._study, state=TrialState.RUNNING) for t in trials]
            for row in rows:
                row.datetime_start = now
            session.add_all(rows)
            session.flush()
            if session.scalar(_count_of_trials(self._study)) != trials[-1].number + 1:
                session.rollback()
                return None
            session.add_all(_parameters(trials, rows))
            begun = {row.number: row.trial_id for row in rows}
            session.commit()
        return begun

    def end(self, endings: Sequence[Ending]) -> bool:
        """Ends running trials, in one transaction.

        Returns:
            False, and none of them ended, where one does not run any more.
        """
        with self._session() as session:
            rows = {row.trial_id: row for row in session.scalars(_running([ending.row for ending in endings]))}
            if len(rows) < len(endings):
                return False
            now = datetime.now()
            for ending in endings:
                rows[ending.row].state, rows[ending.row].datetime_complete = ending.state, now
                session.add_all(_facts(ending))
            session.commit()
        return True


def _of(model: Any, study: int) -> sa.Select[Any]:
    return sa.select(model.study_id).where(model.study_id == study)


def _count_of_trials(study: int) -> sa.Select[Any]:
    return sa.select(sa.func.count(models.TrialModel.trial_id)).where(models.TrialModel.study_id == study)


def _running(rows: Sequence[int]) -> sa.Select[Any]:
    wanted = models.TrialModel.trial_id.in_(rows), models.TrialModel.state == TrialState.RUNNING
    return sa.select(models.TrialModel).where(*wanted).with_for_update()


def _parameters(trials: Sequence[FrozenTrial], rows: Sequence[Any]) -> Iterable[Any]:
    for trial, row in zip(trials, rows, strict=True):
        for name, distribution in trial.distributions.items():
            yield models.TrialParamModel(
                trial_id=row.trial_id,
                param_name=name,
                param_value=distribution.to_internal_repr(trial.params[name]),
                distribution_json=distribution_to_json(distribution),
            )


def _facts(ending: Ending) -> Iterable[Any]:
    yield models.TrialUserAttributeModel(trial_id=ending.row, key=RECORD, value_json=json.dumps(ending.record))
    for name, value in ending.constraints.items():
        key = f"{_CONSTRAINTS_KEY}:{name}"
        yield models.TrialSystemAttributeModel(trial_id=ending.row, key=key, value_json=json.dumps(value))
    for objective, value in enumerate(ending.values):
        stored, kind = models.TrialValueModel.value_to_stored_repr(value)
        yield models.TrialValueModel(trial_id=ending.row, objective=objective, value=stored, value_type=kind)
    if ending.last is not None:
        step, value = ending.last
        stored, kind = models.TrialIntermediateValueModel.intermediate_value_to_stored_repr(value)
        yield models.TrialIntermediateValueModel(
            trial_id=ending.row, step=step, intermediate_value=stored, intermediate_value_type=kind
        )
