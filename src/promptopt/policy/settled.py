"""Questions about a case that need not be asked, and questions that do not read the whole of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from promptopt.core.reading import Item

Asked = TypeVar("Asked")
NOTHING_TO_READ = "the case has no part that the question reads"


@dataclass(frozen=True, slots=True)
class SettledQuery:
    """Stands in for a query that no judge is asked.

    Attributes:
        labels: The closed answer space, the affirmative label first.
        fault: Why there is no answer; None where the case has nothing that the question reads.
    """

    labels: tuple[str, ...]
    fault: str | None

    @classmethod
    def of(cls, item: Item, labels: tuple[str, ...]) -> SettledQuery | None:
        """The stand-in, where the question need not be asked about the item."""
        return cls(labels, item.fault) if item.fault is not None or item.is_nothing else None

    @property
    def unjudged(self) -> str | None:
        """Why there is no answer; None where it is *no*: what is not there falls under no clause."""
        return NOTHING_TO_READ if self.fault is None and len(self.labels) != 2 else self.fault

    def logprobs(self, width: int) -> npt.NDArray[np.float32]:
        """The labels' log-probabilities, float32 of shape (width,)."""
        row = np.full(width, np.nan if self.unjudged else -np.inf, dtype=np.float32)
        if not self.unjudged:
            row[1] = 0.0
        return row


@dataclass(frozen=True, slots=True)
class ShortenedQuery(Generic[Asked]):
    """A query about a case of which a part was shortened.

    Attributes:
        query: What is asked.
    """

    query: Asked
