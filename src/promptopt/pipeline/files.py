"""Files in a run's folder."""

from __future__ import annotations

import os
from pathlib import Path

from promptopt.errors import UserError


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file, whole or not at all; makes its folder.

    Raises:
        UserError: The file system refuses.
    """
    staged = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(text, encoding="utf-8")
        os.replace(staged, path)
    except OSError as cause:
        raise UserError(
            f"the file cannot be written ({cause.strerror})",
            where=path,
            remedy="make room there, or correct runs_dir, and run the same command again: it goes on where it stopped",
        ) from cause
