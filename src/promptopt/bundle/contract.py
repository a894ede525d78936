"""The contract of whatever judges texts: one bundle, or a composition of several.

Commands, promotion and Ray workers call it with any number of texts, missing ones included, and get one verdict per
text in order. A caller must not mutate what it is given back; the engines belong to whoever opened the judge.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from promptopt.bundle.parity import VerifyReport
from promptopt.core.content import PartedText
from promptopt.core.model import FrozenModel
from promptopt.core.verdict import Verdict
from promptopt.engines.base import Usage

DEFAULT_BLOCK = 512
EMPTY_TEXT = "text is empty"
BAD_UNICODE = "text is not valid Unicode (it holds half of a surrogate pair)"

Row = TypeVar("Row")
Content = str | Mapping[str, Any]
"""A text, or part name to text or image (:class:`promptopt.core.content.PartedText`)."""


@dataclass(frozen=True, slots=True)
class TracedVerdict:
    """A verdict and what it rests on.

    Attributes:
        verdict: The verdict.
        score: What rankings are measured on, in [0, 1]; NaN where unjudged. Of a bundle it is the procedure's score
            before calibration, of a composition the probability of the verdict.
        scores: Place of every bundle that was asked to its score; of a bundle by itself the place is empty.
        doubtful: Whether the judge would rather have somebody else decide: the score lies in an abstention band, or
            the members of a jury agree too little. The verdict's ``escalate`` is then true as well.
    """

    verdict: Verdict
    score: float
    scores: Mapping[str, float] = field(default_factory=dict)
    doubtful: bool = False

    @classmethod
    def unjudged(cls, reason: str) -> TracedVerdict:
        """No verdict, and why."""
        return cls(Verdict.unjudged(reason), float("nan"))


class JudgeCost(FrozenModel):
    """What a judge, or a part of one, has done so far.

    Attributes:
        place: Where it stands: empty for the whole, ``2`` for a cascade's second stage, ``2.1`` for the first member of
            the jury that this stage is. The row of a part is the sum of the rows below it.
        name: What people call it.
        cases: Cases that it was asked about.
        unjudged: Cases among them that it could not judge.
        passed: Cases among them that it left to the next stage; of the last stage, and of the whole, to people.
        judgements: Questions that were asked about them.
        tokens_submitted: Tokens of all questions, each counted in full.
        tokens_computed: Tokens that went through the model.
        seconds: Time inside the engine.
    """

    place: str
    name: str
    cases: int = 0
    unjudged: int = 0
    passed: int = 0
    judgements: int = 0
    tokens_submitted: int = 0
    tokens_computed: int = 0
    seconds: float = 0.0

    def __add__(self, other: JudgeCost) -> JudgeCost:
        """The sum of one judge's costs over two processes."""
        return self.model_copy(update={name: getattr(self, name) + getattr(other, name) for name in _COUNTS})

    def __sub__(self, earlier: JudgeCost) -> JudgeCost:
        """What one judge has done since earlier."""
        return self.model_copy(update={name: getattr(self, name) - getattr(earlier, name) for name in _COUNTS})


_COUNTS = tuple(name for name in JudgeCost.model_fields if name not in ("place", "name"))


@runtime_checkable
class TextJudge(Protocol):
    """Judges texts with a bundle or with a composition of bundles."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def threshold(self) -> float:
        """Probabilities at or above it are violations, unless a band says otherwise."""
        ...

    @property
    def usage(self) -> Usage:
        """What all calls so far have cost."""
        ...

    def costs(self) -> tuple[JudgeCost, ...]:
        """What all calls so far have cost: of the whole first, then of its parts in order."""
        ...

    def check_engine(self) -> None:
        """Refuses other judges than those that were measured.

        Raises:
            BundleError: An engine's fingerprint differs; names the facts that do.
        """
        ...

    def engine_fingerprint(self) -> str:
        """What the verdicts depend on besides the bundles: that of the engine, or one over those of all engines."""
        ...

    def judge(self, texts: Sequence[Content | None], block: int = DEFAULT_BLOCK) -> list[Verdict]:
        """One verdict per text, in order."""
        ...

    def judge_scored(self, texts: Sequence[Content | None], block: int = DEFAULT_BLOCK) -> list[tuple[Verdict, float]]:
        """One verdict per text with its score, in order."""
        ...

    def judge_traced(self, texts: Sequence[Content | None], block: int = DEFAULT_BLOCK) -> list[TracedVerdict]:
        """One verdict per text with what it rests on, in order."""
        ...

    def judge_rows(
        self, rows: Iterable[Row], text: Callable[[Row], Content | None], block: int = DEFAULT_BLOCK
    ) -> Iterator[tuple[Row, Verdict]]:
        """Every row of a stream with its verdict, in order, holding a bounded number of rows."""
        ...

    def verify(self, tolerance: float | None = None) -> VerifyReport:
        """Judges the pinned cases again and compares; the tolerance is that of each bundle if none is given."""
        ...


def askable(content: Content | None) -> tuple[str, str | None]:
    """The text that questions are asked about, and why none can be; the reason is None where they can."""
    try:
        text = PartedText(content) if isinstance(content, Mapping) else content
    except ValueError as cause:
        return "", str(cause)
    return text or "", text_fault(text)


def text_fault(text: str | None) -> str | None:
    """Why a text cannot be asked about; None where it can."""
    if text is None or not text.strip():
        return EMPTY_TEXT
    try:
        text.encode()
    except UnicodeEncodeError:
        return BAD_UNICODE
    return None
