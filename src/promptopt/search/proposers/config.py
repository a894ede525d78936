"""Which proposers a sweep asks, and how much of each field is theirs."""

from __future__ import annotations

from pydantic import Field, field_validator

from promptopt.core.model import FrozenModel

PROPOSERS = ("sampler", "grammar", "crossover", "reflective", "file")


class ProposerConfig(FrozenModel):
    """Proposers.

    Attributes:
        shares: Proposer to its weight: ``sampler`` is Optuna's, ``grammar`` moves the best points by a dimension or
            two, ``crossover`` joins two of the best, ``reflective`` has a language model rewrite a component after it
            has read the incumbent's errors, ``file`` imports. What a proposer does not deliver goes to the sampler, as
            does the whole of the first field (but for ``file``).
        file: YAML file of candidates for ``file``.
        parents: So many of the best candidates are moved and crossed.
        max_chars: Longer texts are refused.
        ngram: A text that shares so many words in a row with a golden case is refused.
        max_tokens: Most tokens that the language model writes for a text.
        temperature: Of its sampling.
        errors: Misjudged search cases that it is shown.
    """

    shares: dict[str, float] = Field(default_factory=lambda: {"sampler": 1.0})
    file: str | None = None
    parents: int = Field(default=5, ge=2)
    max_chars: int = Field(default=2000, ge=1)
    ngram: int = Field(default=6, ge=2)
    max_tokens: int = Field(default=160, ge=1)
    temperature: float = Field(default=0.7, ge=0.0)
    errors: int = Field(default=6, ge=1)

    @field_validator("shares")
    @classmethod
    def _weighted(cls, shares: dict[str, float]) -> dict[str, float]:
        if unknown := [name for name in shares if name not in PROPOSERS]:
            raise ValueError(f"there is no proposer {unknown[0]!r}; choose from {', '.join(PROPOSERS)}")
        if not all(weight >= 0 for weight in shares.values()) or not sum(shares.values()) > 0:
            raise ValueError(f"shares must be 0 or more, and one of them above 0, found {shares}")
        return shares
