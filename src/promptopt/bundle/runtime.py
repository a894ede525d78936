"""Judging in production: a bundle and an engine, and nothing of the framework that made the bundle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from promptopt.bundle.model import PromptBundle
from promptopt.bundle.parity import DEFAULT_TOLERANCE, VerifyReport, compare
from promptopt.core.verdict import Verdict
from promptopt.engines.base import EngineCard, JudgeEngine, Usage
from promptopt.errors import BundleError
from promptopt.metrics.bands import Route
from promptopt.policy.asking import Answers, answer
from promptopt.policy.procedure import FloatArray

DEFAULT_BLOCK = 512
EMPTY_TEXT = "text is empty"
BAD_UNICODE = "text is not valid Unicode (it holds half of a surrogate pair)"

Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Askable:
    """A block of texts, as far as questions can be asked about them.

    Attributes:
        faults: Why a text of the block cannot be asked about; None where it can.
        texts: Those that can, in order.
    """

    faults: tuple[str | None, ...]
    texts: tuple[str, ...]


class BundleJudge:
    """Judges texts as the bundle says.

    Args:
        bundle: What to ask and how to decide.
        engine: The judge to ask; the caller closes it.
    """

    def __init__(self, bundle: PromptBundle, engine: JudgeEngine) -> None:
        self.bundle = bundle
        self._engine = engine
        self._usage = Usage()

    @property
    def engine(self) -> JudgeEngine:
        """The judge that is asked."""
        return self._engine

    @property
    def usage(self) -> Usage:
        """What all calls so far have cost."""
        return self._usage

    def check_engine(self) -> None:
        """Refuses another judge than the one that was measured; for callers that want no surprises.

        Raises:
            BundleError: The engine's fingerprint differs; names the facts that do.
        """
        expected, found = self.bundle.engine_card, self._engine.describe()
        if expected.fingerprint != found.fingerprint:
            raise BundleError(
                f"the bundle was measured on another judge ({_difference(expected, found)})",
                where=self.bundle.name,
                remedy="load the judge that the bundle names, or verify the bundle on this one",
            )

    def judge(self, texts: Sequence[str | None], block: int = DEFAULT_BLOCK) -> list[Verdict]:
        """One verdict per text, in order.

        Args:
            texts: What to judge; an empty or missing text is unjudged.
            block: Texts per engine call; at least 1.

        Returns:
            As many verdicts as texts.

        Raises:
            EngineError: The engine cannot serve a block at all.
        """
        return [verdict for _, verdict in self.judge_rows(texts, lambda text: text, block)]

    def judge_scored(self, texts: Sequence[str | None], block: int = DEFAULT_BLOCK) -> list[tuple[Verdict, float]]:
        """One verdict per text with the score that it rests on, in order, from one engine call per block.

        Args:
            texts: What to judge; an empty or missing text is unjudged.
            block: Texts per engine call; at least 1.

        Returns:
            Verdicts, each with :meth:`Procedure.score` of its case before calibration and threshold (in [0, 1], NaN
            where unjudged): calibration may flatten scores into ties, so rankings are measured on this side of it.

        Raises:
            EngineError: The engine cannot serve a block at all.
        """
        if block < 1:
            raise ValueError(f"block must be at least 1, not {block}")
        starts = range(0, len(texts), block)
        return [row for start in starts for row in self._judge_scored_block(texts[start : start + block])]

    def judge_rows(
        self, rows: Iterable[Row], text: Callable[[Row], str | None], block: int = DEFAULT_BLOCK
    ) -> Iterator[tuple[Row, Verdict]]:
        """Judges a stream, holding one block of it at a time.

        Args:
            rows: Anything, any number.
            text: The text of a row; None where it has none.
            block: Rows per engine call; at least 1.

        Yields:
            Every row with its verdict, in order.

        Raises:
            EngineError: The engine cannot serve a block at all.
        """
        if block < 1:
            raise ValueError(f"block must be at least 1, not {block}")
        stream = iter(rows)
        while chunk := list(islice(stream, block)):
            yield from zip(chunk, self._judge_block([text(row) for row in chunk]), strict=True)

    def verify(self, tolerance: float = DEFAULT_TOLERANCE) -> VerifyReport:
        """Judges the pinned cases again and compares.

        Args:
            tolerance: Largest difference of a probability that passes; half-precision judges on other hardware may
                need more than the default.

        Returns:
            The comparison; it passes when every label is the same and no probability differs by more.

        Raises:
            EngineError: The engine cannot serve the cases at all.
        """
        pinned = self.bundle.parity
        answers = self._ask([case.text for case in pinned])
        scores = self.bundle.procedure.score(answers.probabilities)
        verdicts = self._verdicts(answers, scores)
        cases = [
            compare(case, answers.of_case(row), float(scores[row]), verdicts[row]) for row, case in enumerate(pinned)
        ]
        found = self._engine.describe().fingerprint
        return VerifyReport.of(cases, tolerance, expected=self.bundle.fingerprint, found=found)

    def askable(self, texts: Sequence[str | None]) -> Askable:
        """Sorts out what cannot be asked about; for callers that ask several bundles' questions at once."""
        faults = tuple(_fault(text) for text in texts)
        return Askable(faults, tuple(t for t, fault in zip(texts, faults, strict=True) if t is not None and not fault))

    def settle(self, block: Askable, answers: Answers) -> list[tuple[Verdict, float]]:
        """From answers to verdicts.

        Args:
            block: From :meth:`askable`.
            answers: What the engine says to the bundle's prompts about the block's askable texts.

        Returns:
            As :meth:`judge_scored`, a row per text of the block.
        """
        scores = self.bundle.procedure.score(answers.probabilities)
        judged = zip(self._verdicts(answers, scores), scores.tolist(), strict=True)
        return [next(judged) if fault is None else (Verdict.unjudged(fault), float("nan")) for fault in block.faults]

    def _judge_block(self, texts: Sequence[str | None]) -> list[Verdict]:
        return [verdict for verdict, _ in self._judge_scored_block(texts)]

    def _judge_scored_block(self, texts: Sequence[str | None]) -> list[tuple[Verdict, float]]:
        block = self.askable(texts)
        return self.settle(block, self._ask(block.texts))

    def _ask(self, texts: Sequence[str]) -> Answers:
        answers = answer(self.bundle.prompts, texts, self._engine)
        self._usage = self._usage + answers.usage
        return answers

    def _verdicts(self, answers: Answers, scores: FloatArray) -> list[Verdict]:
        """Verdicts from the procedure's scores of the answers, before calibration."""
        procedure, calibration, band = self.bundle.procedure, self.bundle.calibration, self.bundle.band
        doubtful = np.zeros(len(scores), dtype=np.bool_) if band is None else band.decide(scores) == Route.PEOPLE
        if calibration is not None:
            scores = calibration.apply(scores)
        verdicts = []
        for row, score in enumerate(scores):
            if np.isnan(score) and row in answers.unjudged:
                verdict = Verdict.unjudged(answers.unjudged[row])
            else:
                verdict = procedure.verdict(answers.of_case(row), float(score), self.bundle.operating_point.threshold)
            if doubtful[row] and verdict.is_judged:
                verdict = verdict.model_copy(update={"escalate": True})
            if row in answers.dropped_tokens:
                verdict = verdict.model_copy(update={"truncated": True})
            verdicts.append(verdict)
        return verdicts


def _fault(text: str | None) -> str | None:
    """Why a text cannot be asked about; None where it can."""
    if text is None or not text.strip():
        return EMPTY_TEXT
    try:
        text.encode()
    except UnicodeEncodeError:
        return BAD_UNICODE
    return None


def _difference(expected: EngineCard, found: EngineCard) -> str:
    before, now = expected.to_dict(), found.to_dict()
    parts = [
        f"{name} {str(before[name])[:40]!r} there, {str(now[name])[:40]!r} here"
        for name in before
        if name not in ("device", "versions") and before[name] != now[name]
    ]
    return "; ".join(parts)
