"""From a judge of one list of texts to a judge of any number of rows, a bounded number at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import ClassVar

from promptopt.bundle.contract import DEFAULT_BLOCK, Content, Row, TracedVerdict, askable
from promptopt.core.verdict import Verdict


class BlockJudge(ABC):
    """What is alike in all judges of texts; see :class:`promptopt.bundle.contract.TextJudge`.

    Attributes:
        blocks_held: Blocks of a stream that are judged together.
    """

    blocks_held: ClassVar[int] = 1

    def judge(self, texts: Sequence[Content | None], block: int = DEFAULT_BLOCK) -> list[Verdict]:
        """One verdict per text, in order.

        Args:
            texts: What to judge, each a text or a mapping of parts; what is empty or missing is unjudged.
            block: Texts per engine call; at least 1.

        Returns:
            As many verdicts as texts.

        Raises:
            EngineError: An engine cannot serve a block at all.
        """
        return [traced.verdict for traced in self.judge_traced(texts, block)]

    def judge_scored(self, texts: Sequence[Content | None], block: int = DEFAULT_BLOCK) -> list[tuple[Verdict, float]]:
        """One verdict per text with the score that it rests on, in order, from one engine call per block.

        Args:
            texts: What to judge, each a text or a mapping of parts; what is empty or missing is unjudged.
            block: Texts per engine call; at least 1.

        Returns:
            Verdicts, each with its :attr:`TracedVerdict.score`. A bundle's is :meth:`Procedure.score` of the case
            before calibration and threshold: calibration may flatten scores into ties, so rankings are measured on
            this side of it.

        Raises:
            EngineError: An engine cannot serve a block at all.
        """
        return [(traced.verdict, traced.score) for traced in self.judge_traced(texts, block)]

    def judge_traced(self, texts: Sequence[Content | None], block: int = DEFAULT_BLOCK) -> list[TracedVerdict]:
        """One verdict per text with everything that it rests on, in order.

        Args:
            texts: What to judge, each a text or a mapping of parts; what is empty or missing is unjudged.
            block: Texts per engine call; at least 1.

        Raises:
            EngineError: An engine cannot serve a block at all.
        """
        _check(block)
        items = [askable(text) for text in texts]
        judged = iter(self._judge_sound([text for text, fault in items if fault is None], block))
        return [next(judged) if fault is None else TracedVerdict.unjudged(fault) for _, fault in items]

    def judge_rows(
        self, rows: Iterable[Row], text: Callable[[Row], Content | None], block: int = DEFAULT_BLOCK
    ) -> Iterator[tuple[Row, Verdict]]:
        """Judges a stream, holding :attr:`blocks_held` blocks of it at a time.

        Args:
            rows: Anything, any number.
            text: The text of a row; None where it has none.
            block: Rows per engine call; at least 1.

        Yields:
            Every row with its verdict, in order.

        Raises:
            EngineError: An engine cannot serve a block at all.
        """
        _check(block)
        stream = iter(rows)
        while chunk := list(islice(stream, block * self.blocks_held)):
            yield from zip(chunk, self.judge([text(row) for row in chunk], block), strict=True)

    @abstractmethod
    def _judge_sound(self, texts: Sequence[str], block: int) -> list[TracedVerdict]:
        """Judges texts that can be asked about, at most ``block`` of them per engine call."""


def _check(block: int) -> None:
    if block < 1:
        raise ValueError(f"block must be at least 1, not {block}")
