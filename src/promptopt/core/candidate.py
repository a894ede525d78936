"""A candidate: one point of the search space, named by its digest."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from pydantic import Field, field_validator

from promptopt.core.digest import digest_data
from promptopt.core.model import FrozenModel

Choice = str | int | float | bool


class Candidate(FrozenModel):
    """One assignment of choices to the components of a judgement program.

    Attributes:
        choices: Component name (``"policy_rendering"``) to the choice made for it; scalars only.
        demos: Ids of the demonstration cases in the order in which they are shown.
        texts: Component name to a text that a proposer wrote in place of the component's choice.
    """

    choices: dict[str, Choice]
    demos: tuple[str, ...] = ()
    texts: dict[str, str] = Field(default_factory=dict)

    @field_validator("choices", "texts")
    @classmethod
    def _by_name(cls, choices: dict[str, Any]) -> dict[str, Any]:
        """One order whatever the source, so that files written from a resumed sweep are the same byte for byte."""
        return dict(sorted(choices.items()))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of choices, demonstrations and texts: names the candidate in runs, stores and bundles."""
        return digest_data(self.model_dump(exclude=None if self.texts else {"texts"}))

    @property
    def short_digest(self) -> str:
        """The first ten digits of the digest, for people."""
        return self.digest[:10]
