"""The judge of a jury."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from promptopt.bundle.composition.base import CompositeJudge
from promptopt.bundle.composition.model import Band, Jury, held_within
from promptopt.bundle.composition.tree import Branch
from promptopt.bundle.contract import TextJudge, TracedVerdict
from promptopt.bundle.runtime import BundleJudge
from promptopt.core.case import Label
from promptopt.core.verdict import Verdict
from promptopt.metrics.aggregates import agreement, combine
from promptopt.metrics.arrays import FloatArray

_UNHEARD = float("nan")
_NEAR = 1e-9  # of the whole weight: a share that lacks so little of a floor reaches it


class JuryJudge(CompositeJudge):
    """Asks every member about every case and weighs what they say; see :class:`CompositeJudge`.

    The verdict cites the clause, severity and rule of the weightiest member that is of the jury's opinion and cites a
    clause. It is escalated where too little of the weight agrees with it, and where a member of its opinion escalates.

    Args:
        branch: As in :class:`CompositeJudge`.
        parts: One for each member of the file; those of weight 0 are not asked.
        bundles: As in :class:`CompositeJudge`.
        spec: The jury.
        band: Where the jury is a stage with a band: its threshold is held within it.
    """

    def __init__(
        self,
        branch: Branch,
        parts: Sequence[TextJudge],
        bundles: Mapping[str, BundleJudge],
        spec: Jury,
        band: Band = (None, None),
    ) -> None:
        super().__init__(branch, parts, bundles)
        self._spec = spec
        self._weights = np.array([member.weight for member in spec.members], dtype=np.float64)
        self._members = [number for number, member in enumerate(spec.members) if member.weight > 0]
        self._threshold = held_within(self._own_threshold(), band)

    @property
    def threshold(self) -> float:
        """Joint probabilities at or above it are violations."""
        return self._threshold

    def _own_threshold(self) -> float:
        if self._spec.threshold is not None:
            return self._spec.threshold
        return float(joint_probabilities(self._spec, np.array([[part.threshold for part in self._parts]]))[0])

    def _judge_sound(self, texts: Sequence[str], block: int) -> list[TracedVerdict]:
        told = {number: self._parts[number].judge_traced(texts, block) for number in self._members}
        shape = (len(texts), len(self._parts))
        probabilities, flagged = np.full(shape, np.nan), np.zeros(shape, dtype=np.bool_)
        for number, rows in told.items():
            for row, traced in enumerate(rows):
                if traced.verdict.probability is not None:
                    probabilities[row, number] = traced.verdict.probability
                    flagged[row, number] = traced.verdict.label is Label.VIOLATION
        joint = joint_probabilities(self._spec, probabilities)
        agreed = agreement(flagged, ~np.isnan(probabilities), self._weights, joint >= self._threshold)
        judged = ~np.isnan(joint)
        doubtful = agreed < self._spec.agreement - _NEAR
        rows = [
            self._row({number: rows[row] for number, rows in told.items()}, float(joint[row]), bool(doubtful[row]))
            if judged[row]
            else self._no_verdict({number: rows[row] for number, rows in told.items()})
            for row in range(len(texts))
        ]
        self._count(cases=len(rows), unjudged=int((~judged).sum()), passed=sum(traced.doubtful for traced in rows))
        return rows

    def _row(self, told: Mapping[int, TracedVerdict], probability: float, doubtful: bool) -> TracedVerdict:
        label = Label.VIOLATION if probability >= self._threshold else Label.ALLOWED
        verdicts = {number: traced.verdict for number, traced in told.items()}
        agreeing = sorted((n for n, v in verdicts.items() if v.label is label), key=lambda n: -self._weights[n])
        cited = next((verdicts[n] for n in agreeing if verdicts[n].clause is not None), None)
        at_once = any(verdicts[n].escalate for n in agreeing)
        verdict = Verdict(
            label=label,
            probability=probability,
            clause=cited.clause if cited else None,
            severity=cited.severity if cited else (0 if label is Label.ALLOWED else None),
            rule=cited.rule if cited else None,
            escalate=doubtful or at_once,
            truncated=any(verdict.truncated for verdict in verdicts.values()),
        )
        return TracedVerdict(verdict, probability, self._scores(told), doubtful)

    def _no_verdict(self, told: Mapping[int, TracedVerdict]) -> TracedVerdict:
        reasons = [
            f"member {number + 1} ({self._parts[number].name}): {traced.verdict.unjudged_reason}"
            for number, traced in told.items()
            if not traced.verdict.is_judged
        ]
        return TracedVerdict(Verdict.unjudged("; ".join(reasons)), _UNHEARD, self._scores(told))

    def _scores(self, told: Mapping[int, TracedVerdict]) -> dict[str, float]:
        return {
            self._place(number + 1, place): score
            for number, traced in told.items()
            for place, score in traced.scores.items()
        }


def joint_probabilities(spec: Jury, probabilities: FloatArray) -> FloatArray:
    """What a jury thinks of cases.

    Args:
        spec: The jury.
        probabilities: Of its members; shape (cases, members), NaN where unjudged.

    Returns:
        float64 of shape (cases,), NaN where too little of the weight has judged a case.
    """
    weights = np.array([member.weight for member in spec.members], dtype=np.float64)
    joint = combine(probabilities, weights, spec.aggregate)
    present = ~np.isnan(probabilities) @ weights / weights.sum()
    joint = np.where(present >= spec.quorum - _NEAR, joint, np.nan)
    return joint if spec.calibration is None else spec.calibration.apply(joint)
