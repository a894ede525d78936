"""The files that hold the verdicts of a table's parts until all are there.

A part is a stretch of rows. Its file holds the verdicts of these rows and nothing of the table: first the SHA-256 of
all that follows, then one line of facts, then one JSON array per row. It appears whole or not at all, under a name that
follows from its number, so that a part that is judged twice is there once.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from promptopt.bundle.table_readers import TableError
from promptopt.bundle.table_verdicts import TableTally, VerdictRow
from promptopt.bundle.table_writers import replace_synced

PARTIAL = ".partial"
_NAME = re.compile(r"part-(\d+)\.jsonl")
_DIGEST_LETTERS = 64


@dataclass(frozen=True, slots=True)
class PartFiles:
    """The finished parts of one table.

    Attributes:
        folder: Where they are.
        plan: Digest of the plan that they belong to; a file of another plan counts as damaged.
    """

    folder: Path
    plan: str

    def write(self, number: int, verdicts: Sequence[VerdictRow], tally: TableTally) -> None:
        """Puts down the verdicts of a part.

        Raises:
            TableError: The file system refuses.
        """
        facts = json.dumps({"plan": self.plan, "part": number, "tally": tally.model_dump()})
        body = "\n".join([facts, *(json.dumps(row) for row in verdicts), ""]).encode()
        path = self._path(number)
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")
        try:
            partial.write_bytes(b"%s\n%s" % (sha256(body).hexdigest().encode(), body))
            replace_synced(partial, path)
        except OSError as cause:
            raise _refusal(path, cause) from cause
        finally:
            partial.unlink(missing_ok=True)

    def attempt(self, number: int) -> int:
        """Notes down that a process begins to judge a part; how many have, this one included, since the run began.

        For workers that may die without a word.

        Raises:
            TableError: The file system refuses.
        """
        path = self._path(number).with_suffix(f".attempts{PARTIAL}")
        try:
            with path.open("ab") as stream:
                stream.write(b".")
            return path.stat().st_size
        except OSError as cause:
            raise _refusal(path, cause) from cause

    def tally(self, number: int) -> TableTally | None:
        """What a part's verdicts are; None where it is missing, damaged or of another plan."""
        lines = self._lines(number)
        return None if lines is None else self._tally_of(lines, number)

    def verdicts(self, number: int) -> list[VerdictRow]:
        """The verdicts of a part, row by row.

        Raises:
            TableError: The part is missing or damaged.
        """
        lines = self._lines(number)
        if lines is None or self._tally_of(lines, number) is None:
            raise TableError(
                "the verdicts of a part are damaged",
                where=self._path(number),
                remedy="run the same command again: that part is judged again",
            )
        # one call of the parser for the whole part is several times as fast as one for each row
        rows: list[VerdictRow] = json.loads(b"[%s]" % b",".join(lines[1:]))
        return rows

    def _path(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.jsonl"

    def _lines(self, number: int) -> list[bytes] | None:
        """The line of facts and the rows, or None where the file is not as it was written."""
        try:
            content = self._path(number).read_bytes()
        except OSError:
            return None
        body = content[_DIGEST_LETTERS + 1 :]
        if content[:_DIGEST_LETTERS] != sha256(body).hexdigest().encode():
            return None
        return body.splitlines()

    def _tally_of(self, lines: Sequence[bytes], number: int) -> TableTally | None:
        try:
            facts: dict[str, Any] = json.loads(lines[0])
            tally = TableTally.model_validate(facts["tally"])
        except (ValueError, LookupError, TypeError, ValidationError):
            return None
        fits = facts.get("plan") == self.plan and facts.get("part") == number and tally.rows == len(lines) - 1
        return tally if fits else None


def part_names(folder: Path) -> list[str]:
    """Names of the files of finished parts."""
    return [name for name in os.listdir(folder) if _NAME.fullmatch(name)]


def _refusal(path: Path, cause: OSError) -> TableError:
    return TableError(
        f"cannot be written ({cause.strerror or cause})",
        where=path,
        remedy="make room, and run the same command again: it goes on from the parts that are there",
    )
