"""The base of all plain data in the package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field


class FrozenModel(BaseModel):
    """An immutable record that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, without what the original has cached.

        Pydantic copies the values of cached properties too, so that a changed copy would go by the digest of the
        original. The update is not validated.
        """
        copied = super().model_copy(update=update, deep=deep)
        for name in copied.__dict__.keys() - type(self).model_fields.keys():
            del copied.__dict__[name]
        return copied


def added(default: Any) -> Any:
    """A field that a record got after some were written: as long as it has its default it is not written, so that those
    records keep their bytes and their digests.

    Args:
        default: Its default.
    """
    return Field(default=default, exclude_if=lambda value: bool(value == default))
