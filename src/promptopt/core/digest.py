"""Content digests: the same content has the same name on every machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel


def canonical_json(value: Any) -> str:
    """Serialise plain data with sorted keys and no spaces, so that equal data give equal bytes.

    Args:
        value: A pydantic model or anything :mod:`json` takes.

    Returns:
        JSON text, not escaped beyond what JSON asks for.

    Raises:
        ValueError: The data hold NaN or infinity, which JSON cannot carry.
    """
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def digest_text(text: str) -> str:
    """SHA-256 of the UTF-8 text, as 64 hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", errors="surrogatepass")).hexdigest()


def digest_data(value: Any) -> str:
    """SHA-256 of :func:`canonical_json` of the value, as 64 hexadecimal digits."""
    return digest_text(canonical_json(value))


def digest_file(path: Path) -> str:
    """SHA-256 of a file's bytes, read in blocks, as 64 hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_all(digests: Iterable[str]) -> str:
    """One digest of a set of digests, whatever their order."""
    return digest_text("\n".join(sorted(digests)))
