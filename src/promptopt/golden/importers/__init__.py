"""Importers: one file per outside format, and their registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from promptopt.golden.importers.csv_format import import_csv
from promptopt.golden.importers.hatecheck import import_hatecheck
from promptopt.golden.importers.jsonl import import_jsonl
from promptopt.golden.importers.openai_moderation import import_openai_moderation
from promptopt.golden.importers.options import ImportOptions
from promptopt.golden.importers.rows import COLUMN_OPTIONS, Imported
from promptopt.golden.manifest import Provenance

_EVERY_FORMAT = frozenset({"default_language", "max_chars", "limit"})
_TABLE = COLUMN_OPTIONS | {"positive_values", "negative_values"}


@dataclass(frozen=True)
class Importer:
    """A format that golden sets can be imported from.

    Attributes:
        read: From the source file and options to cases; raises GoldenSetError.
        options: Names of the options that the format takes besides those that every format takes.
        provenance: What the manifest says when the person says nothing.
    """

    read: Callable[[Path, ImportOptions], Imported]
    options: frozenset[str] = frozenset()
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def all_options(self) -> frozenset[str]:
        """Names of all options that the format takes."""
        return self.options | _EVERY_FORMAT


IMPORTERS: dict[str, Importer] = {
    "jsonl": Importer(import_jsonl, _TABLE),
    "csv": Importer(import_csv, _TABLE),
    "openai-moderation": Importer(
        import_openai_moderation,
        frozenset({"category"}),
        Provenance(
            licence="MIT",
            source="OpenAI moderation evaluation set (Markov et al., 2023)",
            how_made="one category against the rest; rows not labelled for it are left out",
            content_warning="Real texts; many are sexual, hateful or violent, or speak of self-harm.",
        ),
    ),
    "hatecheck": Importer(
        import_hatecheck,
        frozenset(),
        Provenance(
            licence="CC-BY-4.0",
            source="HateCheck (Röttger et al., 2021)",
            how_made="functional test cases, most of them filled in from templates",
            content_warning="Hateful statements and slurs against protected groups.",
        ),
    ),
}
