"""The record of every opening of a sealed test split: who, why, and for which candidate."""

from __future__ import annotations

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from pydantic import AwareDatetime, ValidationError

from promptopt.core.digest import canonical_json
from promptopt.core.model import FrozenModel
from promptopt.errors import UserError


class TestOpening(FrozenModel):
    """One opening of a golden set's test split.

    Attributes:
        opened: When, UTC.
        who: Name of the user.
        why: For what.
        sweep: The sweep it was opened for.
        candidate: Digest of the candidate that was scored.
        golden: Digest of the golden set.
    """

    __test__ = False  # not a test class, whatever its name says to pytest

    opened: AwareDatetime
    who: str
    why: str
    sweep: str
    candidate: str
    golden: str


class OpeningRecord:
    """The openings on record, one JSON object a line, only ever appended to.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def all(self, golden: str) -> list[TestOpening]:
        """Openings of one golden set, oldest first.

        Raises:
            UserError: A line of the file is not an opening.
        """
        if not self._path.is_file():
            return []
        lines = enumerate(self._path.read_text(encoding="utf-8").split("\n"), start=1)
        openings = [self._parse(number, line) for number, line in lines if line.strip()]
        return [opening for opening in openings if opening.golden == golden]

    def open(self, *, why: str, sweep: str, candidate: str, golden: str) -> TestOpening:
        """Records an opening before the split is read; the same sweep and candidate open it only once.

        Returns:
            The opening on record.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self._path}.lock"):
            for earlier in self.all(golden):
                if earlier.sweep == sweep and earlier.candidate == candidate:
                    return earlier
            opening = TestOpening(
                opened=datetime.now(UTC), who=_user(), why=why, sweep=sweep, candidate=candidate, golden=golden
            )
            with self._path.open("a", encoding="utf-8") as stream:
                stream.write(canonical_json(opening) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
        return opening

    def _parse(self, number: int, line: str) -> TestOpening:
        try:
            return TestOpening.model_validate_json(line)
        except ValidationError as cause:
            raise UserError(
                "the line is not an opening of a test split",
                where=f"{self._path}:{number}",
                remedy="restore the file: it is the record of who has seen the sealed test, and is never edited",
            ) from cause


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
