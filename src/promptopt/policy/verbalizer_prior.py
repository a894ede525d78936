"""What a panel's words said in other domains: where the weights of a new one start from.

Fifty weights are many for a hundred labelled cases. Judged in several domains, the same judge uses many of the words
alike; weights that are drawn to those, and not to nothing, are the mean of a Gaussian prior (Chelba and Acero,
"Adaptation of maximum entropy capitalizer: little data can help a lot", EMNLP 2004).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, FiniteFloat

from promptopt.core.model import FrozenModel


class PriorSource(FrozenModel):
    """A golden set that a prior rests on.

    Attributes:
        domain: Its domain.
        golden: Digest of the golden set; no candidate measured on it may start from the prior.
        cases: Search cases that were judged.
        violations: Violations among them.
    """

    domain: str
    golden: str
    cases: int = Field(ge=1)
    violations: int = Field(ge=1)


class VerbalizerPrior(FrozenModel):
    """Weights of words, from several domains together.

    Attributes:
        format: Of the file.
        model: Name of the judge's model, for people.
        weights_digest: SHA-256 of the model's weights; the words of another model say other things.
        weights: Word to the weight of its standardised log-probability.
        sources: What they were fitted on.
    """

    format: Literal["promptopt.verbalizer-prior/1"] = "promptopt.verbalizer-prior/1"
    model: str
    weights_digest: str
    weights: dict[str, FiniteFloat] = Field(min_length=3)
    sources: tuple[PriorSource, ...] = Field(min_length=1)

    def of(self, words: Sequence[str]) -> tuple[float, ...]:
        """The weights of some words, in their order; 0 for a word that the prior has not."""
        return tuple(self.weights.get(word, 0.0) for word in words)
