"""A verdict: what a judge says of a case, or that it says nothing."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from promptopt.core.case import Label
from promptopt.core.model import FrozenModel, added


class Verdict(FrozenModel):
    """The outcome of judging one case.

    *No verdict* is a value: ``label`` and ``probability`` are None and ``unjudged_reason`` says why. It is counted in
    every report and never scored as allowed or as zero.

    Attributes:
        label: Violation, allowed, or None when unjudged.
        probability: Probability of a violation, in [0, 1], or None when unjudged.
        clause: The clause cited, if any.
        severity: 0 when allowed, else that of the cited clause or that which a graded question measured; None (unknown)
            for any other violation that cites no clause, which 0 would show as allowed, and when unjudged.
        rule: The routing rule that fired.
        escalate: True for a violation that its rule or clause sends to people at once, and for a case that a rule of
            the policy or an abstention band leaves to people; the label is then the judge's guess.
        truncated: True when the judge did not read the whole text.
        unjudged_reason: Why there is no verdict.
        rationales: What the judge wrote before it answered, one text per sample. They may quote the case, so that a
            verdict has them only where they were asked for.
    """

    label: Label | None = None
    probability: float | None = Field(default=None, ge=0.0, le=1.0)
    clause: str | None = None
    severity: int | None = Field(default=None, ge=0, le=4)
    rule: str | None = None
    escalate: bool = False
    truncated: bool = False
    unjudged_reason: str | None = None
    rationales: tuple[str, ...] = added(())

    @model_validator(mode="after")
    def _judged_or_not(self) -> Self:
        given = {self.label is not None, self.probability is not None, self.unjudged_reason is None}
        if len(given) > 1:
            raise ValueError("a verdict has a label and a probability, or a reason why it has neither")
        if self.label is Label.VIOLATION and self.severity == 0:
            raise ValueError("a violation has severity 1 to 4, or none where no clause is cited")
        return self

    @classmethod
    def unjudged(cls, reason: str) -> Verdict:
        """The value that says there is no verdict, and why."""
        return cls(unjudged_reason=reason)

    @property
    def is_judged(self) -> bool:
        return self.unjudged_reason is None
