"""Writes golden sets, whole or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

from promptopt.core.case import GoldenCase
from promptopt.core.digest import digest_text
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.leakage import NEAR_DUPLICATE_THRESHOLD
from promptopt.golden.manifest import Manifest, Provenance, count_cases
from promptopt.golden.reader import CASES_FILE, MANIFEST_FILE

_KEYS = ("id", "text", "label", "clause", "severity", "group", "language", "kind", "pair", "split")


def write_golden_set(
    folder: Path,
    golden: GoldenSet,
    provenance: Provenance,
    *,
    created: date | None = None,
    near_duplicate_threshold: float = NEAR_DUPLICATE_THRESHOLD,
) -> Manifest:
    """Writes ``cases.jsonl`` and ``manifest.json``.

    A new folder appears complete or not at all. In an existing folder each file is replaced as a whole, the manifest
    last; a stop between the two leaves a digest that does not match, which reading refuses.

    Args:
        folder: Where to; created when missing, other files in it are left alone.
        golden: The set, with splits.
        provenance: Where the cases come from.
        created: The day of admission; today when None.
        near_duplicate_threshold: What the splits were checked with.

    Returns:
        The manifest.

    Raises:
        GoldenSetError: A case without split, or a split without violations.
        OSError: The folder cannot be written.
    """
    golden.check_splits()
    cases = format_cases(golden.cases)
    manifest = Manifest(
        **provenance.model_dump(include=set(Provenance.model_fields)),
        name=golden.name,
        domain=golden.domain,
        cases=len(golden.cases),
        digest=digest_text(cases),
        **count_cases(golden.cases),
        created=created or date.today(),
        near_duplicate_threshold=near_duplicate_threshold,
    )
    write_files(folder, {CASES_FILE: cases, MANIFEST_FILE: format_manifest(manifest)})
    return manifest


def format_cases(cases: Sequence[GoldenCase]) -> str:
    """The cases as JSON lines with keys in a fixed order; a case with parts has these in place of the text."""
    rows = (case.model_dump(mode="json") for case in cases)
    return "".join(json.dumps(_ordered(row), ensure_ascii=False) + "\n" for row in rows)


def _ordered(row: dict[str, Any]) -> dict[str, Any]:
    keys = ("parts" if key == "text" and "parts" in row else key for key in _KEYS)
    return {key: row[key] for key in keys}


def format_manifest(manifest: Manifest) -> str:
    """The manifest as indented JSON, the name first."""
    data = manifest.model_dump(mode="json")
    first = ("name", "domain", "cases", "digest")
    ordered = {key: data[key] for key in (*first, *(k for k in data if k not in first))}
    return json.dumps(ordered, ensure_ascii=False, indent=2) + "\n"


def write_files(folder: Path, files: dict[str, str]) -> None:
    """Writes text files into a folder in the order given; a new folder appears with all of them or not at all.

    Raises:
        OSError: The folder cannot be written; nothing half-written is left.
    """
    if folder.exists():
        for name, text in files.items():
            _replace(folder / name, text)
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as holder:
        fresh = Path(holder) / folder.name
        fresh.mkdir()
        for name, text in files.items():
            _replace(fresh / name, text)
        fresh.rename(folder)


def _replace(path: Path, text: str) -> None:
    """Replaces a file as a whole; leaves it alone when it already holds the text."""
    data = text.encode("utf-8")
    if path.is_file() and path.read_bytes() == data:
        return
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(name)
        raise
