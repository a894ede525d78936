"""What a golden set says of itself, beside its cases."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date

from pydantic import Field

from promptopt.core.case import GoldenCase, Label, Split
from promptopt.core.model import FrozenModel


class Provenance(FrozenModel):
    """Where the cases come from and what a reader should know before opening them.

    Attributes:
        licence: SPDX identifier, or the licence in words.
        source: Who or what the texts come from.
        how_made: How cases and labels came about.
        content_warning: What the texts contain.
    """

    licence: str = "not stated"
    source: str = "not stated"
    how_made: str = "not stated"
    content_warning: str = "The texts may be offensive."


class Manifest(Provenance):
    """The admitted state of a golden set; :func:`promptopt.golden.reader.read_golden_set` checks the digest.

    Attributes:
        name: What reports call the set.
        domain: The policy domain.
        cases: Number of cases.
        digest: SHA-256 of the cases file.
        splits: Cases per split.
        labels: Cases per label.
        languages: Cases per ISO 639-1 code.
        created: The day on which this state was admitted.
        near_duplicate_threshold: No two cases in different splits are this similar.
    """

    name: str = Field(min_length=1)
    domain: str = Field(min_length=1)
    cases: int = Field(ge=1)
    digest: str = Field(pattern=r"^[0-9a-f]{64}$")
    splits: dict[Split, int]
    labels: dict[Label, int]
    languages: dict[str, int]
    created: date
    near_duplicate_threshold: float = Field(gt=0, le=1)


def count_cases(cases: Sequence[GoldenCase]) -> dict[str, dict[str, int]]:
    """Cases per split, label and language, in the manifest's form."""
    splits = Counter(case.split for case in cases)
    labels = Counter(case.label for case in cases)
    return {
        "splits": {split.value: splits[split] for split in Split},
        "labels": {label.value: labels[label] for label in Label},
        "languages": dict(sorted(Counter(case.language for case in cases).items())),
    }
