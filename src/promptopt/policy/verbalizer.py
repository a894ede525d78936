"""The verbalizer: what a panel of words, read where the judge's answer would stand, says of a violation.

A small judge asked for *yes* or *no* often leans to one of them whatever the text says, and still knows the difference:
it shows in how likely it finds *Bad*, *Threat* or *I* at the same place. One pass gives the probabilities of all these
words, so that reading many costs what reading two costs.

Sources: a verbalizer that maps words to labels is Schick and Schütze, "Exploiting cloze questions for few-shot text
classification and natural language inference" (EACL 2021); one of many words, Hu et al., "Knowledgeable prompt-tuning"
(ACL 2022). Here the map is a logistic regression with a ridge penalty on the words' log-probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field, FiniteFloat

from promptopt.core.model import FrozenModel
from promptopt.policy.log_odds import sigmoid

FloatArray = npt.NDArray[np.float64]

_ANSWERS = "Yes No yes no True False true false High Low Never Not"
_OPINIONS = "Good Bad good bad Positive Negative positive negative Fine Wrong"
_HARMS = "Safe Unsafe Serious Harmful Offensive Toxic Rude Abuse Hate Attack"
_SUBJECTS = "Threat Danger Violence Death Crime Sexual Love Support Help"
_KINDS = "Allowed Question Story Joke News I You They This"
PANEL: tuple[str, ...] = tuple(" ".join((_ANSWERS, _OPINIONS, _HARMS, _SUBJECTS, _KINDS)).split())
"""Words of approval and disapproval, of what texts do, and of how they begin.

No word names a group of people: a judge that reads them would learn to flag whoever is mentioned.
"""
_LEAST = 1e-12


class Verbalizer(FrozenModel):
    """How the words of a panel are weighed.

    Attributes:
        intercept: Log-odds of a violation where all weighted log-probabilities are 0.
        weights: Of the log-probability of each of the lowered prompt's labels, in their order; of either sign.
    """

    intercept: FiniteFloat
    weights: tuple[FiniteFloat, ...] = Field(min_length=3)

    def score(self, table: FloatArray) -> FloatArray:
        """Probability of a violation.

        Args:
            table: Probabilities of the words, (cases, words); NaN where unjudged.

        Returns:
            float64 of shape (cases,), in [0, 1]; NaN where unjudged.
        """
        total = np.full(len(table), self.intercept)
        for weight, feature in zip(self.weights, word_features(table).T, strict=True):
            total = total + weight * feature  # one at a time: the same sum in any company
        return sigmoid(total)

    def telling(self, words: Sequence[str], most: int = 5) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The words that weigh most for a violation and those that weigh most against it, the weightiest first.

        Args:
            words: The labels of the lowered prompt.
            most: At most so many of each.
        """
        order = sorted(zip(self.weights, words, strict=True), key=lambda pair: -pair[0])
        speaking_for = tuple(word for weight, word in order if weight > 0)
        against = tuple(word for weight, word in reversed(order) if weight < 0)
        return speaking_for[:most], against[:most]


def panel_of(yes: str, no: str, words: tuple[str, ...] = PANEL) -> tuple[str, ...]:
    """The labels of a verbalized question: its own answers first, then the words that are neither."""
    return tuple(dict.fromkeys((yes, no, *words)))


def word_features(table: FloatArray) -> FloatArray:
    """Log-probabilities of the words, of probabilities no smaller than 1e-12; the shape of the table."""
    return np.log(np.maximum(table, _LEAST))


def own_answer(table: FloatArray) -> FloatArray:
    """Probability of the first word against the second: what a direct question would have measured.

    Args:
        table: Probabilities of the words, (cases, words), or, where only the answer itself came through, its
            probability, (cases,); NaN where unjudged.

    Returns:
        float64 of shape (cases,), in [0, 1]; a half where the judge gives neither any chance.
    """
    if table.ndim == 1:
        return table
    first, second = table[:, 0], table[:, 1]
    total = first + second
    return np.where(total == 0, 0.5, first / np.where(total == 0, 1.0, total))
