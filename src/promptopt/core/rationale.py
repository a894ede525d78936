"""How a judge writes reasons before it answers."""

from __future__ import annotations

from typing import Final, Self

from pydantic import Field, model_validator

from promptopt.core.digest import digest_text
from promptopt.core.model import FrozenModel

RATIONALE_SLOT: Final = "rationale"
MAX_SAMPLES: Final = 16
MAX_TOKENS: Final = 1024
_SEED_DIGITS = 7  # 28 bits, which every server takes


class RationaleSettings(FrozenModel):
    """How many rationales are written about a case, and how.

    Attributes:
        samples: Rationales, after each of which the question is answered; the answers are averaged.
        max_tokens: Most tokens of one.
        temperature: Of its sampling; 0 takes the likeliest token at each step, so that a second sample would be the
            first one again.
        seed: Of the draws. Each sample about each text draws from a seed of its own, whatever else is judged with it.
    """

    samples: int = Field(default=1, ge=1, le=MAX_SAMPLES)
    max_tokens: int = Field(default=48, ge=1, le=MAX_TOKENS)
    temperature: float = Field(default=0.7, ge=0.0, allow_inf_nan=False)
    seed: int = 0

    @model_validator(mode="after")
    def _samples_differ(self) -> Self:
        if self.samples > 1 and not self.temperature:
            raise ValueError(f"at temperature 0 all of the {self.samples} samples of a rationale would be alike")
        return self

    def seed_of(self, sample: int, text: str) -> int:
        """The seed of one rationale about one text, in [0, 2 ** 28)."""
        return int(digest_text(f"{self.seed}|{sample}|{text}")[:_SEED_DIGITS], 16)
