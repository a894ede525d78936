"""Admits an authored golden set: checked against its policy, split without leakage, with a manifest."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from promptopt.core.case import Label, Split
from promptopt.core.digest import digest_text
from promptopt.core.model import FrozenModel
from promptopt.errors import GoldenSetError
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.leakage import (
    NEAR_DUPLICATE_THRESHOLD,
    merge_near_duplicate_groups,
    near_duplicates_across_splits,
)
from promptopt.golden.manifest import Manifest, Provenance, count_cases
from promptopt.golden.reader import CASES_FILE, MANIFEST_FILE, read_cases, read_manifest
from promptopt.golden.splits import assign_splits
from promptopt.golden.writer import format_cases, format_manifest, write_files
from promptopt.policy.model import Policy


class BuildReport(FrozenModel):
    """What a build made of a golden set.

    Attributes:
        domain: The domain.
        cases: Cases in the set.
        merged_groups: Groups that near-duplicates dissolved into others.
        splits: Cases per split.
        labels: Cases per label.
        changed: Whether a file differs from what was there.
    """

    domain: str
    cases: int
    merged_groups: int
    splits: dict[Split, int]
    labels: dict[Label, int]
    changed: bool


def authored_provenance(policy: Policy) -> Provenance:
    """Provenance of the sets that the project wrote itself."""
    return Provenance(
        licence="Apache-2.0",
        source="the promptopt project",
        how_made=(
            "written case by case from the policy for this project, drafted with a language model and checked against "
            "the policy by rule; not sampled from traffic, not labelled by several annotators"
        ),
        content_warning=(
            f"Invented texts on the subject of the policy '{policy.title}', about half of them violations of it; "
            "written mildly, yet some may distress."
        ),
    )


def build_golden_set(
    folder: Path,
    policy: Policy,
    provenance: Provenance,
    *,
    seed: int = 0,
    near_duplicate_threshold: float = NEAR_DUPLICATE_THRESHOLD,
    check: bool = False,
) -> BuildReport:
    """Assigns splits to ``cases.jsonl`` and writes ``manifest.json``; a second build changes nothing.

    Args:
        folder: Holds ``cases.jsonl``; its name is the set's name.
        policy: The policy that the labels must follow.
        provenance: For the manifest.
        seed: For the splits.
        near_duplicate_threshold: Groups this similar are merged; none may lie in two splits.
        check: Write nothing, and refuse a folder that a build would change.

    Returns:
        The report.

    Raises:
        GoldenSetError: A malformed case, a label that contradicts the policy, a split without violations, a
            near-duplicate in two splits, or (with ``check``) files that are not as built.
    """
    source = folder / CASES_FILE
    written = read_cases(source)
    merged = merge_near_duplicate_groups(written, near_duplicate_threshold)
    golden = GoldenSet(name=folder.name, domain=policy.domain, cases=assign_splits(merged, seed=seed))
    golden.check_against(policy)
    _refuse_leakage(golden, near_duplicate_threshold)
    cases = format_cases(golden.cases)
    manifest = _manifest(folder, golden, provenance, digest_text(cases), near_duplicate_threshold)
    files = {CASES_FILE: cases, MANIFEST_FILE: format_manifest(manifest)}
    changed = [name for name, text in files.items() if not _holds(folder / name, text)]
    if check and changed:
        raise GoldenSetError(
            "the file is not as built from its cases", where=folder / changed[0], remedy="run scripts/build_golden.py"
        )
    if changed:
        write_files(folder, files)
    return BuildReport(
        domain=policy.domain,
        cases=len(golden.cases),
        merged_groups=len({c.group for c in written}) - len({c.group for c in merged}),
        splits=manifest.splits,
        labels=manifest.labels,
        changed=bool(changed),
    )


def _refuse_leakage(golden: GoldenSet, threshold: float) -> None:
    pairs = near_duplicates_across_splits(golden.cases, threshold)
    if pairs:
        first = pairs[0]
        raise GoldenSetError(
            f"{len(pairs)} near-duplicate pairs lie in two splits, the first {first.first} and {first.second} "
            f"(similarity {first.similarity:.2f})",
            where=f"golden set {golden.name}",
            remedy="reword one of each pair",
        )


def _manifest(folder: Path, golden: GoldenSet, provenance: Provenance, digest: str, threshold: float) -> Manifest:
    return Manifest(
        **provenance.model_dump(),
        name=golden.name,
        domain=golden.domain,
        cases=len(golden.cases),
        digest=digest,
        **count_cases(golden.cases),
        created=_admitted_on(folder, digest),
        near_duplicate_threshold=threshold,
    )


def _admitted_on(folder: Path, digest: str) -> date:
    """The day on the present manifest when it is about these very cases, else today."""
    if (folder / MANIFEST_FILE).is_file():
        try:
            present = read_manifest(folder)
        except GoldenSetError:
            return date.today()  # a manifest that cannot be read is about to be replaced
        if present.digest == digest:
            return present.created
    return date.today()


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_bytes() == text.encode("utf-8")
