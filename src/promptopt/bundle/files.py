"""Bundles on disk: one folder in which every byte is accounted for.

``bundle.json`` holds the small facts and the SHA-256 of every other file; ``bundle.sha256`` holds that of
``bundle.json``. The digests show accidents and careless edits; they are not a signature.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from promptopt.bundle.model import SCHEMA_VERSION, ParityCase, PromptBundle
from promptopt.bundle.readme import render_readme
from promptopt.core.digest import canonical_json
from promptopt.core.yaml_file import explain_validation
from promptopt.errors import BundleError

MANIFEST = "bundle.json"
SEAL = "bundle.sha256"
PARITY = "parity.jsonl"
README = "README.md"
POLICY = "policy.yaml"
_JSON_FILES = {
    "prompts": "prompts.json",
    "procedure": "procedure.json",
    "scores": "scores.json",
    "engine": "engine.json",
}
_REQUIRED = frozenset({*_JSON_FILES.values(), PARITY, README})
_EXPORT_AGAIN = "the bundle was changed after export; export it again"


def write_bundle(bundle: PromptBundle, folder: Path, *, overwrite: bool = False) -> Path:
    """Writes a bundle; the folder appears complete or not at all.

    Args:
        bundle: The bundle.
        folder: Where to; parents are created.
        overwrite: Replace a bundle that is already there. Any other folder with content is never replaced.

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
        raise BundleError(
            f"cannot be written ({cause.strerror})", where=folder, remedy="choose another folder"
        ) from cause
    try:
        for name, content in _render(bundle).items():
            _write_synced(staging / name, content)
        if read_bundle(staging).digest != bundle.digest:
            raise BundleError("does not read back as it was written", where=folder, remedy="report this as a bug")
        _put_in_place(staging, folder)
    except OSError as cause:
        raise BundleError(
            f"cannot be written ({cause.strerror})", where=folder, remedy="choose another folder"
        ) from cause
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def read_bundle(folder: Path) -> PromptBundle:
    """Reads a bundle and checks every byte of it.

    Args:
        folder: A folder that :func:`write_bundle` wrote.

    Returns:
        The bundle.

    Raises:
        BundleError: The folder or a file is missing, a file is unknown, a file does not match its digest, or the
            bundle was written in another layout; names the file.
    """
    found = _read_all(folder)
    manifest = _read_manifest(folder, found)
    _check_files(folder, found, manifest)
    data = {key: value for key, value in manifest.items() if key != "files"}
    data |= {key: _parse(folder / name, found[name]) for key, name in _JSON_FILES.items()}
    data["parity"] = _read_parity(folder / PARITY, found[PARITY])
    if POLICY in found:
        data["policy_source"] = _decode(folder / POLICY, found[POLICY])
    try:
        return PromptBundle.model_validate(data)
    except ValidationError as cause:
        raise BundleError(explain_validation(cause), where=folder, remedy="export the bundle again") from cause


def bundle_folders(folder: Path) -> list[Path]:
    """The bundles directly in a folder, or each in a folder of its own as sweeps export them (``NAME/bundle``).

    Args:
        folder: Any folder.

    Returns:
        Their folders, by name.

    Raises:
        BundleError: The folder does not exist, or holds none.
    """
    if not folder.is_dir():
        raise BundleError("the folder of bundles does not exist", where=folder, remedy="check the path")
    found = [path for child in sorted(folder.iterdir()) for path in (child, child / "bundle")]
    bundles = [path for path in found if (path / MANIFEST).is_file()]
    if not bundles:
        raise BundleError(
            "holds no bundle", where=folder, remedy="give a folder whose subfolders are bundles, or name each bundle"
        )
    return bundles


def _render(bundle: PromptBundle) -> dict[str, bytes]:
    """File name to content, the manifest and its seal last."""
    data = bundle.model_dump(mode="json", exclude={"parity", "policy_source"})
    contents = {name: _pretty(data.pop(key)) for key, name in _JSON_FILES.items()}
    contents[PARITY] = "".join(canonical_json(case) + "\n" for case in bundle.parity).encode()
    contents[README] = render_readme(bundle).encode()
    if bundle.policy_source is not None:
        contents[POLICY] = bundle.policy_source.encode()
    data["files"] = {name: sha256(content).hexdigest() for name, content in contents.items()}
    contents[MANIFEST] = _pretty(data)
    contents[SEAL] = _seal(contents[MANIFEST])
    return contents


def _pretty(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _seal(manifest: bytes) -> bytes:
    """One line that ``sha256sum --check`` understands."""
    return f"{sha256(manifest).hexdigest()}  {MANIFEST}\n".encode()


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _check_target(folder: Path, overwrite: bool) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / MANIFEST).is_file():
        raise BundleError("something that is not a bundle is in the way", where=folder, remedy="choose another folder")
    if not overwrite:
        raise BundleError(
            "a bundle is already there", where=folder, remedy="choose another folder or allow overwriting"
        )


def _put_in_place(staging: Path, folder: Path) -> None:
    if not (folder / MANIFEST).exists():
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


def _read_all(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise BundleError("the bundle folder does not exist", where=folder, remedy="check the path")
    entries = {entry.name: entry for entry in folder.iterdir()}
    for name in (MANIFEST, SEAL):
        if name not in entries:
            raise BundleError(
                f"{name} is missing", where=folder, remedy="give the folder of a bundle, or export it again"
            )
    known = {*_REQUIRED, MANIFEST, SEAL, POLICY}
    for name, entry in sorted(entries.items()):
        if name not in known or not entry.is_file():
            raise BundleError(f"{name} does not belong to the bundle", where=folder, remedy="remove it")
    found = {}
    for name, entry in entries.items():
        try:
            found[name] = entry.read_bytes()
        except OSError as cause:
            raise BundleError(f"{name} cannot be read ({cause.strerror})", where=folder) from cause
    return found


def _read_manifest(folder: Path, found: Mapping[str, bytes]) -> dict[str, Any]:
    if found[SEAL] != _seal(found[MANIFEST]):
        raise BundleError(f"{MANIFEST} does not match the digest in {SEAL}", where=folder, remedy=_EXPORT_AGAIN)
    manifest = _parse(folder / MANIFEST, found[MANIFEST])
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise BundleError("is not the manifest of a bundle", where=folder / MANIFEST, remedy="export the bundle again")
    version = manifest.get("schema_version")
    if version != SCHEMA_VERSION:
        raise BundleError(
            f"schema_version is {version!r}, and this promptopt reads {SCHEMA_VERSION}",
            where=folder / MANIFEST,
            remedy="use the promptopt that wrote the bundle, or export it again",
        )
    return manifest


def _check_files(folder: Path, found: Mapping[str, bytes], manifest: Mapping[str, Any]) -> None:
    listed = manifest["files"]
    for name in sorted({*_REQUIRED, *listed}):
        if name not in found:
            raise BundleError(f"{name} is missing", where=folder, remedy=_EXPORT_AGAIN)
    for name in sorted(set(found) - {MANIFEST, SEAL}):
        if name not in listed:
            raise BundleError(f"{name} is not listed in {MANIFEST}", where=folder, remedy=_EXPORT_AGAIN)
        if sha256(found[name]).hexdigest() != listed[name]:
            raise BundleError(f"{name} does not match the digest in {MANIFEST}", where=folder, remedy=_EXPORT_AGAIN)


def _parse(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as cause:
        raise BundleError(f"not valid JSON ({cause})", where=path, remedy="export the bundle again") from cause


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as cause:
        raise BundleError(f"byte {cause.start} is not UTF-8", where=path, remedy="export the bundle again") from cause


def _read_parity(path: Path, content: bytes) -> list[ParityCase]:
    cases = []
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n"), start=1):
        where = Path(f"{path}:{number}")
        try:
            cases.append(ParityCase.model_validate(_parse(where, line)))
        except ValidationError as cause:
            # the fault's input may be a case text, which is never shown
            key = ".".join(str(part) for part in cause.errors()[0]["loc"])
            raise BundleError(f"key `{key}` does not fit", where=where, remedy="export the bundle again") from cause
    return cases
