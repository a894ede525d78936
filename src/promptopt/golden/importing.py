"""Brings outside data into the form of a golden set: admitted, split without leakage, with a manifest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from promptopt.core.case import GoldenCase, Label, Split
from promptopt.core.model import FrozenModel
from promptopt.errors import ConfigError, GoldenSetError
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.importers import IMPORTERS, Importer
from promptopt.golden.importers.options import ImportOptions, parse_options
from promptopt.golden.leakage import merge_near_duplicate_groups
from promptopt.golden.manifest import Provenance, count_cases
from promptopt.golden.reader import CASES_FILE, MANIFEST_FILE
from promptopt.golden.sampling import sample_cases
from promptopt.golden.splits import assign_splits
from promptopt.golden.writer import format_cases, write_golden_set
from promptopt.policy.model import DOMAIN_NAME


class ImportReport(FrozenModel):
    """What an import made, and what it left out.

    Attributes:
        name: The set's name.
        domain: Its domain.
        folder: Where it lies.
        digest: The golden set's digest.
        cases: Cases kept.
        left_out: Why source rows were left out, and how many.
        groups: Groups after merging near-duplicates; splits never part one.
        largest_group: Cases in the largest group.
        splits: Cases per split.
        labels: Cases per label.
        languages: Cases per language.
    """

    name: str
    domain: str
    folder: str
    digest: str
    cases: int
    left_out: dict[str, int]
    groups: int
    largest_group: int
    splits: dict[Split, int]
    labels: dict[Label, int]
    languages: dict[str, int]


def import_golden(
    format: str,
    source: Path,
    destination: Path,
    *,
    domain: str,
    name: str,
    options: ImportOptions | Mapping[str, Any] | None = None,
    seed: int = 0,
    provenance: Provenance | None = None,
    overwrite: bool = False,
) -> ImportReport:
    """Imports a file as a golden set folder.

    Texts that stand twice are kept once, and texts that stand with both labels are left out; both are counted. Groups
    with near-duplicate texts are merged before the splits are made. Importing the same thing again changes nothing.

    Args:
        format: A key of ``IMPORTERS``.
        source: The file.
        destination: The folder to write.
        domain: Policy domain of the labels.
        name: What reports call the set.
        options: Columns, label values, category, sampling.
        seed: For sampling and splits.
        provenance: For the manifest; what the format knows of itself when None.
        overwrite: Replace another golden set that the destination holds.

    Returns:
        The report.

    Raises:
        ConfigError: An unknown format or option, or an unfit domain or name.
        GoldenSetError: The source cannot be read, too few violations, or the destination holds another set.
    """
    importer = _importer(format)
    chosen = _check_options(parse_options(options), importer, format)
    if not re.fullmatch(DOMAIN_NAME, domain):
        raise ConfigError(f"`{domain}` is not a domain name", where="domain", remedy="use lower case, digits and _")
    if not name.strip():
        raise ConfigError("the name is empty", where="name", remedy="give the golden set a name")
    imported = importer.read(source, chosen)
    left_out = Counter(imported.left_out)
    cases = _select(imported.cases, chosen, seed, left_out)
    if not any(case.is_violation for case in cases):
        why = ", ".join(f"{times} {reason}" for reason, times in left_out.items()) or "nothing left out"
        raise GoldenSetError(
            f"none of the {len(cases)} cases is a violation ({why})",
            where=source,
            remedy="check the label column, positive_values or category",
        )
    golden = GoldenSet(name=name, domain=domain, cases=assign_splits(merge_near_duplicate_groups(cases), seed=seed))
    golden.check_splits()
    if not _already_there(destination, golden, overwrite):
        write_golden_set(destination, golden, provenance or importer.provenance)
    return _report(golden, destination, left_out)


def _importer(format: str) -> Importer:
    if format not in IMPORTERS:
        raise ConfigError(f"unknown format `{format}`", where="format", remedy=f"known formats: {', '.join(IMPORTERS)}")
    return IMPORTERS[format]


def _check_options(options: ImportOptions, importer: Importer, format: str) -> ImportOptions:
    if foreign := sorted(options.given - importer.all_options):
        raise ConfigError(
            f"format {format} takes no option `{foreign[0]}`",
            where="import options",
            remedy=f"it takes {', '.join(sorted(importer.all_options))}",
        )
    return options


def _select(
    cases: Sequence[GoldenCase], options: ImportOptions, seed: int, left_out: Counter[str]
) -> tuple[GoldenCase, ...]:
    """Leaves out contradicted, repeated and long texts, then samples; counts all of it in ``left_out``."""
    labels: dict[str, set[Label]] = {}
    for case in cases:
        labels.setdefault(case.digest, set()).add(case.label)
    kept: dict[str, GoldenCase] = {}
    for case in cases:
        if len(labels[case.digest]) > 1:
            left_out["same text with both labels"] += 1
        elif case.digest in kept:
            left_out["text repeated"] += 1
        elif options.max_chars is not None and len(case.text) > options.max_chars:
            left_out[f"longer than {options.max_chars} characters"] += 1
        else:
            kept[case.digest] = case
    sample = tuple(kept.values())
    if options.limit is not None and len(sample) > options.limit:
        left_out[f"beyond the limit of {options.limit}"] += len(sample) - options.limit
        sample = sample_cases(sample, options.limit, seed)
    return sample


def _already_there(destination: Path, golden: GoldenSet, overwrite: bool) -> bool:
    """Whether the destination holds these very cases; refuses to replace others."""
    if destination.exists() and not destination.is_dir():
        raise GoldenSetError("the destination is a file", where=destination, remedy="name a folder")
    held = destination / CASES_FILE
    if not held.exists() or overwrite:
        return False
    if held.read_bytes() == format_cases(golden.cases).encode("utf-8") and (destination / MANIFEST_FILE).is_file():
        return True
    raise GoldenSetError(
        "the folder holds another golden set", where=destination, remedy="name another, or replace it with --force"
    )


def _report(golden: GoldenSet, destination: Path, left_out: Counter[str]) -> ImportReport:
    groups = Counter(case.group for case in golden.cases)
    return ImportReport(
        name=golden.name,
        domain=golden.domain,
        folder=str(destination),
        digest=golden.digest,
        cases=len(golden.cases),
        left_out=dict(left_out),
        groups=len(groups),
        largest_group=max(groups.values()),
        **count_cases(golden.cases),
    )
