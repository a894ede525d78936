"""Folders in which every byte is accounted for: a manifest lists the digests of all files, a seal that of the manifest.

The digests show accidents and careless edits; they are not a signature.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from promptopt.errors import BundleError

BUNDLE_MANIFEST: Final = "bundle.json"
COMPOSITE_MANIFEST: Final = "composition.json"
CHANGED: Final = "the bundle was changed after export; export it again"
_EXPORT_AGAIN = "export the bundle again"


def publish(
    contents: Mapping[str, bytes], folder: Path, *, overwrite: bool, check: Callable[[Path], None] = lambda _: None
) -> Path:
    """Writes a folder that appears complete or not at all.

    Args:
        contents: Path within the folder, with forward slashes, to content.
        folder: Where to; parents are created.
        overwrite: Replace a bundle that is already there. Any other folder with content is never replaced.
        check: Called with the finished folder before it takes its place; raises where it is not as it should be.

    Returns:
        The folder.

    Raises:
        BundleError: Something is in the way, or the file system refuses.
    """
    folder = folder.resolve()
    _check_target(folder, overwrite)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        staging = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.partial")
        staging.mkdir()
    except OSError as cause:
        raise _refusal(folder, cause) from cause
    try:
        for name, content in contents.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            _write_synced(staging / name, content)
        check(staging)
        _put_in_place(staging, folder)
    except OSError as cause:
        raise _refusal(folder, cause) from cause
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def read_manifest(folder: Path, name: str, seal_name: str, found: Mapping[str, bytes], version: int) -> dict[str, Any]:
    """The manifest of a folder, if the seal is its own and this version reads it.

    Args:
        folder: The folder, for errors.
        name: Of the manifest.
        seal_name: Of the seal.
        found: Path to content of every file in the folder.
        version: The layout that is read.

    Raises:
        BundleError: The seal is another's, or the manifest is not one that can be read.
    """
    if found[seal_name] != seal(found[name], name):
        raise BundleError(f"{name} does not match the digest in {seal_name}", where=folder, remedy=CHANGED)
    manifest = parse_json(folder / name, found[name])
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise BundleError("is not the manifest of a bundle", where=folder / name, remedy=_EXPORT_AGAIN)
    written = manifest.get("schema_version")
    if written != version:
        raise BundleError(
            f"schema_version is {written!r}, and this promptopt reads {version}",
            where=folder / name,
            remedy="use the promptopt that wrote the bundle, or export it again",
        )
    return manifest


def check_digests(folder: Path, found: Mapping[str, bytes], listed: Mapping[str, str], manifest: str) -> None:
    """Checks that exactly the files listed are there, byte for byte.

    Args:
        folder: The folder, for errors.
        found: Path to content of every file, the manifest and its seal left out.
        listed: Path to SHA-256.
        manifest: Name of the manifest, for errors.

    Raises:
        BundleError: Names the file that is missing, unknown or altered.
    """
    for name in sorted(listed):
        if name not in found:
            raise BundleError(f"{name} is missing", where=folder, remedy=CHANGED)
    for name in sorted(found):
        if name not in listed:
            raise BundleError(f"{name} is not listed in {manifest}", where=folder, remedy=CHANGED)
        if sha256(found[name]).hexdigest() != listed[name]:
            raise BundleError(f"{name} does not match the digest in {manifest}", where=folder, remedy=CHANGED)


def read_bytes(path: Path, folder: Path) -> bytes:
    """A file's content.

    Raises:
        BundleError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as cause:
        name = path.relative_to(folder).as_posix()
        raise BundleError(f"{name} cannot be read ({cause.strerror})", where=folder) from cause


def parse_json(path: Path, content: bytes) -> Any:
    """What a JSON file says.

    Raises:
        BundleError: It is not JSON.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as cause:
        raise BundleError(f"not valid JSON ({cause})", where=path, remedy=_EXPORT_AGAIN) from cause


def pretty(value: Any) -> bytes:
    """JSON for people."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def digests(contents: Mapping[str, bytes]) -> dict[str, str]:
    """Path to SHA-256 of the content."""
    return {name: sha256(content).hexdigest() for name, content in contents.items()}


def seal(manifest: bytes, name: str) -> bytes:
    """One line that ``sha256sum --check`` understands."""
    return f"{sha256(manifest).hexdigest()}  {name}\n".encode()


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _is_bundle(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (BUNDLE_MANIFEST, COMPOSITE_MANIFEST))


def _check_target(folder: Path, overwrite: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not _is_bundle(folder):
        raise BundleError("something that is not a bundle is in the way", where=folder, remedy="choose another folder")
    if not overwrite:
        raise BundleError(
            "a bundle is already there", where=folder, remedy="choose another folder or allow overwriting"
        )


def _put_in_place(staging: Path, folder: Path) -> None:
    if not _is_bundle(folder):
        os.rename(staging, folder)
        return
    retired = staging.with_suffix(".replaced")
    os.rename(folder, retired)
    try:
        os.rename(staging, folder)
    except OSError:
        os.rename(retired, folder)
        raise
    shutil.rmtree(retired, ignore_errors=True)


def _refusal(folder: Path, cause: OSError) -> BundleError:
    return BundleError(f"cannot be written ({cause.strerror})", where=folder, remedy="choose another folder")
