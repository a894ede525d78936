"""The judge of a cascade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptopt.bundle.composition.base import CompositeJudge
from promptopt.bundle.composition.model import Band, Cascade, is_within
from promptopt.bundle.composition.tree import Branch
from promptopt.bundle.contract import JudgeCost, TextJudge, TracedVerdict
from promptopt.bundle.runtime import BundleJudge


class CascadeJudge(CompositeJudge):
    """Asks each stage about the cases that the one before leaves; see :class:`CompositeJudge`.

    A case goes on where its probability lies in the stage's band, where the stage says that it is in doubt, and where
    it cannot judge it. What the last stage leaves is escalated: its verdict is the guess of the last stage that has
    one, and only a case that no stage could judge is unjudged.
    """

    def __init__(
        self, branch: Branch, parts: Sequence[TextJudge], bundles: Mapping[str, BundleJudge], spec: Cascade
    ) -> None:
        super().__init__(branch, parts, bundles)
        self._bands = [stage.band for stage in spec.stages]
        self._passed = [0] * len(parts)

    @property
    def threshold(self) -> float:
        """That of the last stage."""
        return self._parts[-1].threshold

    def costs(self) -> tuple[JudgeCost, ...]:
        """As :meth:`CompositeJudge.costs`; what a stage passed is what it left to the next one."""
        passed = {str(number): count for number, count in enumerate(self._passed, 1)}
        return tuple(
            row.model_copy(update={"passed": passed[row.place]}) if row.place in passed else row
            for row in super().costs()
        )

    def _judge_sound(self, texts: Sequence[str], block: int) -> list[TracedVerdict]:
        told: list[TracedVerdict | None] = [None] * len(texts)
        waiting = list(range(len(texts)))
        for number, (stage, band) in enumerate(zip(self._parts, self._bands, strict=True), 1):
            found = stage.judge_traced([texts[row] for row in waiting], block)
            left = []
            for row, traced in zip(waiting, found, strict=True):
                told[row] = self._heard(told[row], traced, number)
                if _is_left(traced, band):
                    left.append(row)
            self._passed[number - 1] += len(left)
            waiting = left
        for row in waiting:
            told[row] = _to_people(told[row])
        rows = [row for row in told if row is not None]
        unjudged = sum(not row.verdict.is_judged for row in rows)
        self._count(cases=len(rows), unjudged=unjudged, passed=len(waiting) - unjudged)
        return rows

    def _heard(self, before: TracedVerdict | None, now: TracedVerdict, number: int) -> TracedVerdict:
        """What is known of a case after one more stage: the latest verdict, and every score."""
        scores = {self._place(number, place): score for place, score in now.scores.items()}
        scores = {**(before.scores if before else {}), **scores}
        if now.verdict.probability is not None:
            return TracedVerdict(now.verdict, now.verdict.probability, scores)
        if before is None:
            return TracedVerdict(now.verdict, now.score, scores)
        if before.verdict.is_judged:
            return TracedVerdict(before.verdict, before.score, scores)
        reasons = f"{before.verdict.unjudged_reason}; then: {now.verdict.unjudged_reason}"
        return TracedVerdict.unjudged(reasons)


def _is_left(traced: TracedVerdict, band: Band | None) -> bool:
    probability = traced.verdict.probability
    if probability is None or traced.doubtful:
        return True
    return band is not None and is_within(probability, band)


def _to_people(traced: TracedVerdict | None) -> TracedVerdict | None:
    if traced is None or not traced.verdict.is_judged:
        return traced
    verdict = traced.verdict.model_copy(update={"escalate": True})
    return TracedVerdict(verdict, traced.score, traced.scores, doubtful=True)
