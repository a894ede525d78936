"""The parity check: does the bundle, here and now, say what it said when it was made?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import FiniteFloat

from promptopt.bundle.model import ParityCase
from promptopt.core.case import Label
from promptopt.core.model import FrozenModel
from promptopt.core.verdict import Verdict
from promptopt.policy.procedure import Answer


class CaseParity(FrozenModel):
    """A pinned case, then and now.

    Attributes:
        id: Id of the case.
        expected: The label recorded.
        found: The label now; None when unjudged.
        difference: Largest absolute difference over the case's answers and its score; None when unjudged.
        allowed: Largest difference that passes.
        unjudged_reason: Why there is no verdict now.
    """

    id: str
    expected: Label
    found: Label | None
    difference: FiniteFloat | None
    allowed: float
    unjudged_reason: str | None = None

    @property
    def passes(self) -> bool:
        """True when the label is the same and no probability differs by more than is allowed."""
        return self.found == self.expected and self.difference is not None and self.difference <= self.allowed


class VerifyReport(FrozenModel):
    """What came of re-judging the pinned cases.

    Attributes:
        passed: Every label is the same and no probability differs by more than is allowed.
        cases: Every pinned case.
        differing: Ids of the cases that do not pass.
        agreement: Share of cases with the recorded label; an unjudged case does not agree.
        largest_difference: Over the cases judged; None when there are none.
        tolerance: The largest difference that was allowed of any case.
        engine_matches: Whether the engine's fingerprint is the recorded one; other hardware may pass without it.
        expected_fingerprint: The fingerprint recorded.
        found_fingerprint: The engine's fingerprint now.
    """

    passed: bool
    cases: tuple[CaseParity, ...]
    differing: tuple[str, ...]
    agreement: float
    largest_difference: float | None
    tolerance: float
    engine_matches: bool
    expected_fingerprint: str
    found_fingerprint: str

    @classmethod
    def of(cls, cases: Sequence[CaseParity], *, expected: str, found: str) -> VerifyReport:
        """Sums up the pinned cases.

        Args:
            cases: One or more cases, then and now.
            expected: The engine fingerprint recorded.
            found: The engine fingerprint now.
        """
        differing = tuple(case.id for case in cases if not case.passes)
        return cls(
            passed=not differing,
            cases=tuple(cases),
            differing=differing,
            agreement=sum(case.found == case.expected for case in cases) / len(cases),
            largest_difference=max((c.difference for c in cases if c.difference is not None), default=None),
            tolerance=max(case.allowed for case in cases),
            engine_matches=expected == found,
            expected_fingerprint=expected,
            found_fingerprint=found,
        )


def compare(
    case: ParityCase, answers: Mapping[str, Answer], score: float, verdict: Verdict, allowed: float
) -> CaseParity:
    """Sets a pinned case beside what the judge says of it now.

    Args:
        case: What was recorded.
        answers: Question name to the answer now, see :class:`ParityCase`; NaN where unjudged.
        score: The procedure's score now, before calibration; NaN where unjudged.
        verdict: The verdict now.
        allowed: Largest difference of a probability that passes.
    """
    answered = [np.max(np.abs(np.subtract(answers[name], expected))) for name, expected in case.answers.items()]
    difference = float(np.max([*answered, abs(score - case.score)]))
    return CaseParity(
        id=case.id,
        expected=case.label,
        found=verdict.label,
        difference=None if np.isnan(difference) else difference,
        allowed=allowed,
        unjudged_reason=verdict.unjudged_reason,
    )
