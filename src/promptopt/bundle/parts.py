"""The folder beside an output where the verdicts of finished parts wait, so that a killed run can be taken up again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from promptopt.bundle.parts_files import PARTIAL, PartFiles, part_names
from promptopt.bundle.table_readers import TableError
from promptopt.bundle.table_writers import replace_synced
from promptopt.core.digest import digest_data
from promptopt.core.model import FrozenModel

PLAN, LOCK = "plan.json", "lock"
RESTART: Final = "--restart"
_SHORT_DIGEST = 12
_MEANING = {
    "input_bytes": "bytes of the input",
    "input_sha256": "input",
    "input_format": "format of the input",
    "text_column": "text column",
    "part_columns": "columns of parts",
    "prefix": "prefix",
    "part_rows": "rows per part",
    "rows": "rows",
    "bundle": "bundle",
    "judge": "judge",
}


class PartPlan(FrozenModel):
    """What the verdicts of the parts depend on.

    Attributes:
        version: Version of the folder's layout.
        input: Name of the input, for people; another name for the same content makes no difference.
        input_bytes: Its size.
        input_sha256: SHA-256 of its content.
        input_format: Its format.
        text_column: The column judged.
        part_columns: Part name to the column judged in its place.
        prefix: Prefix of the columns to append.
        part_rows: Rows per part; the last part may have fewer.
        rows: Rows in all.
        bundle: Digest of the bundle.
        judge: Fingerprint of the judge.
    """

    version: Literal[1] = 1
    input: str
    input_bytes: int
    input_sha256: str
    input_format: str
    text_column: str
    part_columns: dict[str, str] = Field(default_factory=dict)
    prefix: str
    part_rows: int
    rows: int
    bundle: str
    judge: str

    @property
    def digest(self) -> str:
        """SHA-256 of everything but the input's name, and of the columns of parts only where there are some."""
        return digest_data(self.model_dump(exclude={"input"} if self.part_columns else {"input", "part_columns"}))

    def differences(self, now: PartPlan) -> list[str]:
        """What is not the same now, in words."""
        return [
            f"{meaning} {_shown(name, getattr(self, name))} there, {_shown(name, getattr(now, name))} now"
            for name, meaning in _MEANING.items()
            if getattr(self, name) != getattr(now, name)
        ]


class PartFolder:
    """A context that holds the folder of an output's parts for this process alone.

    On leaving, the folder goes away when the output is complete or no part is finished; otherwise it stays, and the
    next run goes on with it.

    Args:
        path: The folder.
        target: The output, for messages.
        keep: False lets the folder go away in any case.
    """

    def __init__(self, path: Path, target: Path, *, keep: bool = True) -> None:
        self.path = path
        self.complete = False
        self._target = target
        self._keep = keep
        self._lock = FileLock(path / LOCK)

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(exist_ok=True)
            if foreign := [name for name in os.listdir(self.path) if not _is_ours(name)]:
                raise TableError(
                    f"holds {foreign[0]!r}, which is no part of a table, where finished parts would go",
                    where=self.path,
                    remedy="move it away, or choose another output file",
                )
            self._lock.acquire(timeout=0)
        except Timeout as cause:
            raise TableError(
                "another process is judging into this file",
                where=self._target,
                remedy="wait for it, or choose another output file",
            ) from cause
        except OSError as cause:
            raise self._refusal(cause) from cause
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        done = self.complete or not self._keep or not part_names(self.path)
        if done:
            self._clear()
            (self.path / LOCK).unlink(missing_ok=True)
        self._lock.release()
        if done:
            # another process may have come for the folder meanwhile; then it is that one's
            with suppress(OSError):
                self.path.rmdir()

    def begin(self, plan: PartPlan, *, restart: bool) -> PartFiles:
        """Sets the plan down, or checks that the one there is the same.

        Args:
            plan: What the verdicts depend on.
            restart: Throw away what is there.

        Returns:
            The finished parts, none or some.

        Raises:
            TableError: The folder's plan is another, or cannot be read; or the file system refuses.
        """
        try:
            if restart:
                self._clear()
            for name in os.listdir(self.path):
                if name.endswith(PARTIAL):
                    (self.path / name).unlink(missing_ok=True)
            if (self.path / PLAN).exists():
                self._check(plan)
            else:
                partial = self.path / f"{PLAN}{PARTIAL}"
                partial.write_text(plan.model_dump_json(indent=2) + "\n", encoding="utf-8")
                replace_synced(partial, self.path / PLAN)
        except OSError as cause:
            raise self._refusal(cause) from cause
        return PartFiles(self.path.absolute(), plan.digest)

    def _check(self, plan: PartPlan) -> None:
        where = self.path / PLAN
        try:
            there = PartPlan.model_validate_json(where.read_bytes())
        except ValidationError as cause:
            raise TableError(
                "is not the plan of a judged table", where=where, remedy=f"begin anew with {RESTART}"
            ) from cause
        if found := there.differences(plan):
            raise TableError(
                f"the {len(part_names(self.path)):,} parts judged before were judged otherwise ({'; '.join(found)})",
                where=self.path,
                remedy=f"use the same settings to go on, or throw those parts away with {RESTART}",
            )

    def _clear(self) -> None:
        for name in _own_files(self.path):
            (self.path / name).unlink(missing_ok=True)

    def _refusal(self, cause: OSError) -> TableError:
        reason = cause.strerror or str(cause)
        return TableError(f"cannot be written ({reason})", where=self.path, remedy="make room or choose another file")


def _own_files(folder: Path) -> Iterator[str]:
    yield from (name for name in os.listdir(folder) if _is_ours(name) and name != LOCK)


def _is_ours(name: str) -> bool:
    return name in (PLAN, LOCK) or name.endswith(PARTIAL) or (name.startswith("part-") and name.endswith(".jsonl"))


def _shown(name: str, value: Any) -> str:
    if name in ("input_sha256", "bundle", "judge"):
        return str(value)[:_SHORT_DIGEST]
    if isinstance(value, dict):
        return ", ".join(f"{part}={column}" for part, column in value.items()) or "none"
    return repr(value) if isinstance(value, str) else f"{value:,}"
