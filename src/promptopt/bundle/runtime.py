"""Judging in production: a bundle and an engine, and nothing of the framework that made the bundle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from promptopt.bundle.blocks import BlockJudge
from promptopt.bundle.contract import (
    BAD_UNICODE,
    DEFAULT_BLOCK,
    EMPTY_TEXT,
    Content,
    JudgeCost,
    TracedVerdict,
    askable,
)
from promptopt.bundle.model import PromptBundle
from promptopt.bundle.parity import VerifyReport, compare
from promptopt.core.verdict import Verdict
from promptopt.engines.base import EngineCard, JudgeEngine, Usage
from promptopt.errors import BundleError
from promptopt.metrics.arrays import BoolArray
from promptopt.metrics.bands import Route
from promptopt.policy.asking import Answers, answer
from promptopt.policy.procedure import FloatArray
from promptopt.policy.reasoning import check_can_write

__all__ = ["BAD_UNICODE", "DEFAULT_BLOCK", "EMPTY_TEXT", "Askable", "BundleJudge"]


@dataclass(frozen=True, slots=True)
class Askable:
    """A block of texts, as far as questions can be asked about them.

    Attributes:
        faults: Why a text of the block cannot be asked about; None where it can.
        texts: Those that can, in order.
    """

    faults: tuple[str | None, ...]
    texts: tuple[str, ...]


class BundleJudge(BlockJudge):
    """Judges texts as the bundle says; see :class:`promptopt.bundle.contract.TextJudge`.

    Args:
        bundle: What to ask and how to decide.
        engine: The judge to ask; the caller closes it.
        rationales: Whether verdicts carry what the judge wrote before it answered, which may quote the case.
    """

    def __init__(self, bundle: PromptBundle, engine: JudgeEngine, *, rationales: bool = False) -> None:
        self.bundle = bundle
        self._rationales = rationales
        self._has_to_write = any(prompt.rationale is not None for prompt in bundle.prompts)
        self._engine = engine
        self._usage = Usage()
        self._cases = 0
        self._unjudged = 0
        self._doubtful = 0

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.bundle.name

    @property
    def threshold(self) -> float:
        """Calibrated probabilities at or above it are violations."""
        return self.bundle.operating_point.threshold

    @property
    def engine(self) -> JudgeEngine:
        """The judge that is asked."""
        return self._engine

    @property
    def usage(self) -> Usage:
        """What all calls so far have cost."""
        return self._usage

    def costs(self) -> tuple[JudgeCost, ...]:
        """What all calls so far have cost; one row."""
        usage = self._usage
        cost = JudgeCost(
            place="",
            name=self.name,
            cases=self._cases,
            unjudged=self._unjudged,
            passed=self._doubtful,
            judgements=usage.queries,
            tokens_submitted=usage.tokens_submitted,
            tokens_computed=usage.tokens_computed,
            seconds=usage.seconds,
        )
        return (cost,)

    def engine_fingerprint(self) -> str:
        """That of the engine that is asked."""
        return self._engine.describe().fingerprint

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

    def verify(self, tolerance: float | None = None) -> VerifyReport:
        """Judges the pinned cases again and compares.

        Args:
            tolerance: Largest difference of a probability that passes; None is the bundle's own
                (:attr:`PromptBundle.tolerance`). Half-precision judges on other hardware may need more.

        Returns:
            The comparison; it passes when every label is the same and no probability differs by more.

        Raises:
            EngineError: The engine cannot serve the cases at all.
        """
        pinned = self.bundle.parity
        allowed = self.bundle.tolerance if tolerance is None else tolerance
        answers = self._ask([case.item for case in pinned])
        scores = self.bundle.procedure.score(answers.probabilities)
        verdicts = self._verdicts(answers, scores)
        cases = [
            compare(case, answers.of_case(row), float(scores[row]), verdicts[row], allowed)
            for row, case in enumerate(pinned)
        ]
        found = self._engine.describe().fingerprint
        return VerifyReport.of(cases, expected=self.bundle.fingerprint, found=found)

    def askable(self, texts: Sequence[Content | None]) -> Askable:
        """Sorts out what cannot be asked about; for callers that ask several bundles' questions at once."""
        items = [askable(text) for text in texts]
        return Askable(tuple(fault for _, fault in items), tuple(text for text, fault in items if fault is None))

    def settle(self, block: Askable, answers: Answers) -> list[tuple[Verdict, float]]:
        """From answers to verdicts.

        Args:
            block: From :meth:`askable`.
            answers: What the engine says to the bundle's prompts about the block's askable texts.

        Returns:
            As :meth:`judge_scored`, a row per text of the block.
        """
        judged = iter(self._settled(answers))
        rows = [next(judged) if fault is None else TracedVerdict.unjudged(fault) for fault in block.faults]
        return [(row.verdict, row.score) for row in rows]

    def _judge_sound(self, texts: Sequence[str], block: int) -> list[TracedVerdict]:
        starts = range(0, len(texts), block)
        rows = [row for start in starts for row in self._settled(self._ask(texts[start : start + block]))]
        self._cases += len(rows)
        self._unjudged += sum(not row.verdict.is_judged for row in rows)
        self._doubtful += sum(row.doubtful for row in rows)
        return rows

    def _settled(self, answers: Answers) -> list[TracedVerdict]:
        scores = self.bundle.procedure.score(answers.probabilities)
        doubtful = self._in_band(scores)
        return [
            TracedVerdict(verdict, score, {"": score} if verdict.is_judged else {}, doubt and verdict.is_judged)
            for verdict, score, doubt in zip(
                self._verdicts(answers, scores), scores.tolist(), doubtful.tolist(), strict=True
            )
        ]

    def _in_band(self, scores: FloatArray) -> BoolArray:
        band = self.bundle.band
        if band is None:
            return np.zeros(len(scores), dtype=np.bool_)
        return np.asarray(band.decide(scores) == Route.PEOPLE)

    def _ask(self, texts: Sequence[str]) -> Answers:
        if self._has_to_write and texts:
            check_can_write(self._engine)
            self._has_to_write = False
        answers = answer(self.bundle.prompts, texts, self._engine)
        self._usage = self._usage + answers.usage
        return answers

    def _verdicts(self, answers: Answers, scores: FloatArray) -> list[Verdict]:
        """Verdicts from the procedure's scores of the answers, before calibration."""
        procedure, calibration, doubtful = self.bundle.procedure, self.bundle.calibration, self._in_band(scores)
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
            if row in answers.dropped_tokens or row in answers.shortened:
                verdict = verdict.model_copy(update={"truncated": True})
            if self._rationales and verdict.is_judged:
                verdict = verdict.model_copy(update={"rationales": answers.rationales.get(row, ())})
            verdicts.append(verdict)
        return verdicts


def _difference(expected: EngineCard, found: EngineCard) -> str:
    before, now = expected.to_dict(), found.to_dict()
    parts = [
        f"{name} {str(before[name])[:40]!r} there, {str(now[name])[:40]!r} here"
        for name in before
        if name not in ("device", "versions") and before[name] != now[name]
    ]
    return "; ".join(parts)
