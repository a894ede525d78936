"""Composite bundles on disk: a composition with copies of its bundles, every byte accounted for.

``composition.json`` holds the composition, the small facts and the SHA-256 of every other file, those of the bundles
under ``members/`` included; ``composition.sha256`` holds that of ``composition.json``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import AwareDatetime, Field, ValidationError

from promptopt.bundle.composition.model import Composition
from promptopt.bundle.files import PARITY, README, read_parity, render_parity
from promptopt.bundle.folders import (
    COMPOSITE_MANIFEST,
    check_digests,
    digests,
    pretty,
    publish,
    read_bytes,
    read_manifest,
    seal,
)
from promptopt.bundle.model import MAX_PARITY_CASES, SHA256, ParityCase
from promptopt.core.digest import digest_data
from promptopt.core.model import FrozenModel
from promptopt.core.yaml_file import explain_validation
from promptopt.errors import BundleError
from promptopt.policy.model import DOMAIN_NAME

SCHEMA_VERSION: Final = 1
SEAL: Final = "composition.sha256"
MEMBERS: Final = "members"
_MOST_FILES = 2000


class CompositeBundle(FrozenModel):
    """A composition that is ready for production; its bundles lie beside it.

    Attributes:
        schema_version: Version of this layout.
        name: Name of the composition, for people and registries.
        domain: What its bundles judge.
        created: When it was composed, UTC.
        promptopt: Version of the package that composed it.
        composition: Its paths lead to folders under ``members/``.
        digest: :attr:`Branch.digest` of the composition: over its settings and the digests of its bundles.
        parity: Pinned cases with what the composition said of them: the score of every bundle that was asked, by its
            place, and the probability and label of the verdict.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str = Field(min_length=1)
    domain: str = Field(pattern=DOMAIN_NAME)
    created: AwareDatetime
    promptopt: str
    composition: Composition
    digest: str = Field(pattern=SHA256)
    parity: tuple[ParityCase, ...] = Field(min_length=1, max_length=MAX_PARITY_CASES)


def write_composite(
    composite: CompositeBundle, members: dict[str, Path], readme: str, folder: Path, *, overwrite: bool = False
) -> Path:
    """Writes a composite bundle; the folder appears complete or not at all.

    Args:
        composite: What it is.
        members: Path of a bundle within the folder (``members/01-cheap``) to the folder that it is copied from.
        readme: Text of its README.
        folder: Where to; parents are created.
        overwrite: Replace a bundle that is already there. Any other folder with content is never replaced.

    Returns:
        The folder.

    Raises:
        BundleError: Something is in the way, or the file system refuses.
    """
    contents = {
        f"{name}/{path.name}": read_bytes(path, source)
        for name, source in members.items()
        for path in sorted(source.iterdir())
    }
    contents[PARITY] = render_parity(composite.parity)
    contents[README] = readme.encode()
    data = composite.model_dump(mode="json", exclude={"parity"})
    data["files"] = digests(contents)
    contents[COMPOSITE_MANIFEST] = pretty(data)
    contents[SEAL] = seal(contents[COMPOSITE_MANIFEST], COMPOSITE_MANIFEST)

    def check(written: Path) -> None:
        if digest_data(read_composite(written)) != digest_data(composite):
            raise BundleError("does not read back as it was written", where=folder, remedy="report this as a bug")

    return publish(contents, folder, overwrite=overwrite, check=check)


def read_composite(folder: Path) -> CompositeBundle:
    """Reads a composite bundle and checks every byte of it; its bundles are read by whoever needs them.

    Raises:
        BundleError: A file is missing, unknown or does not match its digest, or the bundle was written in another
            layout; names the file.
    """
    found = _read_all(folder)
    manifest = read_manifest(folder, COMPOSITE_MANIFEST, SEAL, found, SCHEMA_VERSION)
    others = {name: content for name, content in found.items() if name not in (COMPOSITE_MANIFEST, SEAL)}
    check_digests(folder, others, manifest["files"], COMPOSITE_MANIFEST)
    if PARITY not in others:
        raise BundleError(f"{PARITY} is missing", where=folder, remedy="compose the bundle again")
    data = {key: value for key, value in manifest.items() if key != "files"}
    data["parity"] = read_parity(folder / PARITY, others[PARITY])
    try:
        return CompositeBundle.model_validate(data)
    except ValidationError as cause:
        raise BundleError(explain_validation(cause), where=folder, remedy="compose the bundle again") from cause


def _read_all(folder: Path) -> dict[str, bytes]:
    paths = [path for path in sorted(folder.rglob("*")) if not path.is_dir()]
    if len(paths) > _MOST_FILES:
        raise BundleError(f"holds {len(paths)} files", where=folder, remedy="give the folder of a bundle")
    found = {path.relative_to(folder).as_posix(): read_bytes(path, folder) for path in paths}
    if SEAL not in found:
        raise BundleError(f"{SEAL} is missing", where=folder, remedy="compose the bundle again")
    return found
