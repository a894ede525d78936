"""What a person may say about a file that is imported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationError

from promptopt.core.model import FrozenModel
from promptopt.core.yaml_file import explain_validation
from promptopt.errors import ConfigError


class ImportOptions(FrozenModel):
    """Options of all formats; a format refuses those that it does not take.

    Attributes:
        text: Column of the text; ``text`` when None. The other columns likewise go by their own name when None.
        label: Column of the label.
        id: Column of the case id; without one, cases are numbered by row.
        clause: Column of the violated clause; only violations take it.
        severity: Column of the severity, 1 to 4; violations without one have severity 1.
        group: Column of the template or scenario; without one, every case is its own group.
        language: Column of the ISO 639-1 code; without one, ``default_language``.
        positive_values: Label values that mean a violation, whatever the case; with these given and
            ``negative_values`` not, every other value means allowed.
        negative_values: Label values that mean allowed.
        default_language: Language of cases whose row names none.
        category: The risk category to import (openai-moderation).
        max_chars: Longer texts are left out and counted.
        limit: Keep a stratified sample of at most this many cases.
    """

    text: str | None = None
    label: str | None = None
    id: str | None = None
    clause: str | None = None
    severity: str | None = None
    group: str | None = None
    language: str | None = None
    positive_values: tuple[str, ...] = ()
    negative_values: tuple[str, ...] = ()
    default_language: str = Field(default="en", min_length=2)
    category: str | None = None
    max_chars: int | None = Field(default=None, ge=1)
    limit: int | None = Field(default=None, ge=1)

    @property
    def given(self) -> frozenset[str]:
        """Names of the options that differ from their default."""
        return frozenset(n for n, field in type(self).model_fields.items() if getattr(self, n) != field.default)


def parse_options(options: ImportOptions | Mapping[str, Any] | None) -> ImportOptions:
    """Options from plain data.

    Raises:
        ConfigError: An unknown option or a value that does not fit.
    """
    if isinstance(options, ImportOptions):
        return options
    try:
        return ImportOptions.model_validate(dict(options or {}))
    except ValidationError as cause:
        known = ", ".join(ImportOptions.model_fields)
        raise ConfigError(
            explain_validation(cause), where="import options", remedy=f"known options: {known}"
        ) from cause
