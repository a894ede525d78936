"""Bundles on disk: one folder in which every byte is accounted for.

``bundle.json`` holds the small facts and the SHA-256 of every other file; ``bundle.sha256`` holds that of
``bundle.json``. The digests show accidents and careless edits; they are not a signature.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from promptopt.bundle.folders import (
    BUNDLE_MANIFEST,
    CHANGED,
    COMPOSITE_MANIFEST,
    check_digests,
    digests,
    parse_json,
    pretty,
    publish,
    read_bytes,
    read_manifest,
    seal,
)
from promptopt.bundle.model import SCHEMA_VERSION, ParityCase, PromptBundle
from promptopt.bundle.readme import render_readme
from promptopt.core.digest import canonical_json
from promptopt.core.yaml_file import explain_validation
from promptopt.errors import BundleError

MANIFEST = BUNDLE_MANIFEST
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

    def check(written: Path) -> None:
        if read_bundle(written).digest != bundle.digest:
            raise BundleError("does not read back as it was written", where=folder, remedy="report this as a bug")

    return publish(_render(bundle), folder, overwrite=overwrite, check=check)


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
    manifest = read_manifest(folder, MANIFEST, SEAL, found, SCHEMA_VERSION)
    _check_files(folder, found, manifest["files"])
    data = {key: value for key, value in manifest.items() if key != "files"}
    data |= {key: parse_json(folder / name, found[name]) for key, name in _JSON_FILES.items()}
    data["parity"] = read_parity(folder / PARITY, found[PARITY])
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
    contents = {name: pretty(data.pop(key)) for key, name in _JSON_FILES.items()}
    contents[PARITY] = render_parity(bundle.parity)
    contents[README] = render_readme(bundle).encode()
    if bundle.policy_source is not None:
        contents[POLICY] = bundle.policy_source.encode()
    data["files"] = digests(contents)
    contents[MANIFEST] = pretty(data)
    contents[SEAL] = seal(contents[MANIFEST], MANIFEST)
    return contents


def render_parity(cases: Sequence[ParityCase]) -> bytes:
    """Pinned cases as JSON lines."""
    return "".join(canonical_json(case) + "\n" for case in cases).encode()


def _read_all(folder: Path) -> dict[str, bytes]:
    if not folder.is_dir():
        raise BundleError("the bundle folder does not exist", where=folder, remedy="check the path")
    entries = {entry.name: entry for entry in folder.iterdir()}
    if COMPOSITE_MANIFEST in entries:
        raise BundleError(
            "is a composition of bundles, where one bundle is needed", where=folder, remedy="name one of its members/"
        )
    for name in (MANIFEST, SEAL):
        if name not in entries:
            raise BundleError(
                f"{name} is missing", where=folder, remedy="give the folder of a bundle, or export it again"
            )
    known = {*_REQUIRED, MANIFEST, SEAL, POLICY}
    for name, entry in sorted(entries.items()):
        if name not in known or not entry.is_file():
            raise BundleError(f"{name} does not belong to the bundle", where=folder, remedy="remove it")
    return {name: read_bytes(entry, folder) for name, entry in entries.items()}


def _check_files(folder: Path, found: Mapping[str, bytes], listed: Mapping[str, str]) -> None:
    for name in sorted(_REQUIRED):
        if name not in found:
            raise BundleError(f"{name} is missing", where=folder, remedy=CHANGED)
    check_digests(folder, {n: c for n, c in found.items() if n not in (MANIFEST, SEAL)}, listed, MANIFEST)


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as cause:
        raise BundleError(f"byte {cause.start} is not UTF-8", where=path, remedy="export the bundle again") from cause


def read_parity(path: Path, content: bytes) -> list[ParityCase]:
    """The pinned cases of a bundle.

    Raises:
        BundleError: A line is not one; names it, and never shows the text of a case.
    """
    cases = []
    for number, line in enumerate(content.removesuffix(b"\n").split(b"\n"), start=1):
        where = Path(f"{path}:{number}")
        try:
            cases.append(ParityCase.model_validate(parse_json(where, line)))
        except ValidationError as cause:
            # the fault's input may be a case text, which is never shown
            key = ".".join(str(part) for part in cause.errors()[0]["loc"])
            raise BundleError(f"key `{key}` does not fit", where=where, remedy="export the bundle again") from cause
    return cases
