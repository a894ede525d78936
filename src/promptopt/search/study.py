"""The record of a sweep: an Optuna study that a killed process leaves ready to resume.

Every proposal is a function of the sweep's seed and the trials finished before it, never of the state of a process. A
trial that a killed process left running is set aside and its point is proposed again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.trial import FrozenTrial, TrialState
from pydantic import Field

from promptopt.core.candidate import Candidate, Choice
from promptopt.core.digest import canonical_json
from promptopt.core.model import FrozenModel
from promptopt.errors import StudyMismatchError, UserError
from promptopt.search.config import SamplerConfig
from promptopt.search.pace import Pace
from promptopt.search.proposers.base import Proposal
from promptopt.search.sampling import Proposals
from promptopt.search.space import SearchSpace
from promptopt.search.study_storage import open_study
from promptopt.search.trial_tables import RECORD, Ending, TrialTables

_IDENTITY = "promptopt.identity"
_PROPOSALS = "promptopt.proposals."
_PACE = "promptopt.pace."


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
        self._space = space
        self._single = len(directions) == 1
        self._open: dict[int, int] = {}  # number to row
        self._unwritten: list[FrozenTrial] = []
        self._storage, self._study = open_study(name, url, directions)
        self._tables = TrialTables(self._storage.engine, self._storage.get_study_id_from_name(name))
        self._check_identity(name, identity)
        self._set_aside_abandoned()
        trials = self._study.get_trials(deepcopy=False)
        self._records = [_record_of(trial) for trial in trials if RECORD in trial.user_attrs]
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
        """Proposes a point and puts its trial on record; see :meth:`propose` and :meth:`begin`."""
        proposed = self.propose(point)
        self.begin()
        return proposed

    def propose(self, point: Mapping[str, Choice] | None = None) -> tuple[int, dict[str, Choice]]:
        """The next point: the first on record is the space's seed point, later ones come from the sampler.

        Several may be proposed before the first of them is told. None is on record before :meth:`begin`.

        Args:
            point: Another proposer's point, which takes the place of one of the sampler's.

        Returns:
            The trial's number and its point.
        """
        if not self._records and not self._proposals.waiting:
            point = self._space.seed_point()
        asked = self._proposals.ask(len(self._records), point)
        self._unwritten.append(asked)
        return asked.number, self._proposals.point_of(asked)

    def begin(self) -> None:
        """Puts the trials of all points proposed since the last call on record, in one transaction.

        Raises:
            UserError: Somebody else has written trials in the meantime.
        """
        if not self._unwritten:
            return
        begun = self._tables.begin(self._unwritten)
        if begun is None:
            raise UserError(
                f"the study has a trial {self._unwritten[0].number} that this sweep did not begin",
                where=self._study.study_name,
                remedy="run one sweep at a time in a study, and start this one again",
            )
        self._open |= begun
        self._begun = self._unwritten[-1].number + 1
        self._unwritten = []

    def remembered(self, finished: int, propose: Callable[[], Sequence[Proposal]]) -> list[Proposal]:
        """The proposals made when so many trials were finished; the first call makes and stores them."""
        key = f"{_PROPOSALS}{finished}"
        made = self._study.user_attrs.get(key)
        if made is None:
            made = [{"point": dict(p.point), "texts": dict(p.texts), "source": p.source} for p in propose()]
            self._study.set_user_attr(key, made)
        return [Proposal(**stored) for stored in made]

    def pace(self, judge: str, measure: Callable[[], Pace]) -> Pace:
        """A judge's pace; the first call measures and stores it, so that a resumed sweep goes on with the same."""
        key = f"{_PACE}{judge}"
        stored = self._study.user_attrs.get(key)
        if stored is None:
            stored = measure().model_dump()
            self._study.set_user_attr(key, stored)
        return Pace.model_validate(stored)

    def tell(self, record: TrialRecord) -> None:
        """Finishes a trial."""
        self.tell_race([record])

    def tell_race(self, records: Sequence[TrialRecord]) -> None:
        """Finishes all trials of a race, in one transaction: a process that is killed leaves either no trial of the
        race finished or all of them.

        Raises:
            UserError: Somebody else has finished one of them in the meantime.
        """
        endings = [self._ending(record) for record in records]
        if not self._tables.end(endings):
            numbers = f"{records[0].number} to {records[-1].number}"
            raise UserError(
                f"somebody else has finished a trial that this sweep began (one of {numbers})",
                where=self._study.study_name,
                remedy="run one sweep at a time in a study, and start this one again",
            )
        for record, ending in zip(records, endings, strict=True):
            del self._open[record.number]
            self._records.append(record)
            self._proposals.constrain(record.number, record.constraints)
            values = ending.values if record.complete else None
            self._proposals.tell(record.number, ending.state, values, ending.last)

    def close(self) -> None:
        """Releases the database; SQLite then folds its write-ahead log into the file."""
        self._storage.remove_session()
        self._storage.engine.dispose()

    def _ending(self, record: TrialRecord) -> Ending:
        """How Optuna sees the end of a trial."""
        row, text, constraints = self._open[record.number], canonical_json(record), record.constraints
        if record.complete:
            return Ending(row, TrialState.COMPLETE, text, record.values, constraints=constraints)
        if not self._single:
            return Ending(row, TrialState.FAIL, text, constraints=constraints)
        last = (len(record.rungs) - 1, record.rungs[-1]) if record.rungs else None
        return Ending(row, TrialState.PRUNED, text, record.rungs[-1:], last, constraints)

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

    def _set_aside_abandoned(self) -> None:
        """Fails the trials that a killed process left running: their points are proposed again."""
        for frozen in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._storage.set_trial_state_values(frozen._trial_id, TrialState.FAIL)


def _record_of(trial: FrozenTrial) -> TrialRecord:
    return TrialRecord.model_validate_json(trial.user_attrs[RECORD])


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 24 else text[:10] + "…"
