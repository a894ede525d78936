"""What the file of a cascade or of a jury says."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, FiniteFloat, field_validator, model_validator

from promptopt.core.model import FrozenModel
from promptopt.metrics.aggregates import Aggregate
from promptopt.metrics.arrays import Measured
from promptopt.metrics.calibration import PlattCalibrator
from promptopt.metrics.cascade import MOST_STAGES
from promptopt.metrics.certificates import Certificate
from promptopt.metrics.intervals import Interval

MOST_MEMBERS: Final = 16
Probability = Annotated[FiniteFloat, Field(ge=0.0, le=1.0)]
Band = tuple[Probability | None, Probability | None]


class CompositionFit(FrozenModel):
    """What bands and weights were fitted on, and what is certain about them.

    Attributes:
        golden: Name of the golden set, of whose calibration split the scores are.
        golden_digest: Its digest.
        cases: Calibration cases that took part, one of each group.
        positives: Violations among them.
        recall_floor: Share of violations that are not allowed unseen; None where that was not asked for.
        precision_floor: Share of violations among what is flagged unseen; None where that was not asked for.
        delta: Probability that either floor is broken on new cases.
        recall: The recall certificate of each stage, where it has one.
        precision: Of the violations that stages call, where it was asked for.
        cost_per_case: In the unit of the stages' costs, on the calibration cases; NaN for a jury.
        to_people: Share of the calibration cases that people would judge, with its interval; None for a jury.
        note: What could not be certified or fitted, and how many more cases it would take.
    """

    golden: str
    golden_digest: str
    cases: int = Field(ge=0)
    positives: int = Field(ge=0)
    recall_floor: float | None = None
    precision_floor: float | None = None
    delta: float | None = None
    recall: tuple[Certificate | None, ...] = ()
    precision: Certificate | None = None
    cost_per_case: Measured = float("nan")
    to_people: Interval | None = None
    note: str = ""


class Part(FrozenModel):
    """One judge of a composition: a bundle, or a composition itself.

    Attributes:
        bundle: Folder of a bundle, file of a composition, or folder of a composite bundle; from the file's folder.
        composition: A composition in its place, instead of a path to one.
    """

    bundle: str | None = Field(default=None, min_length=1)
    composition: Composition | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.bundle is None) == (self.composition is None):
            raise ValueError("needs either `bundle`, a path, or `composition`, and not both")
        return self


class Stage(Part):
    """One stage of a cascade.

    Attributes:
        band: Calibrated probabilities from the first to just below the second are left to the next stage, of the last
            stage to people: what is lower is allowed, what is higher violates. An end that is null settles nothing
            on its side. None where the judge says itself what it cannot settle: a bundle by its own abstention band,
            a jury by its agreement.
        cost: Of one case, in any unit that all stages share; for fitting.
    """

    band: Band | None = None
    cost: FiniteFloat | None = Field(default=None, ge=0.0)

    @field_validator("band")
    @classmethod
    def _rises(cls, band: Band | None) -> Band | None:
        if band is not None and band[0] is not None and band[1] is not None and band[0] > band[1]:
            raise ValueError(f"a band goes from low to high, not from {band[0]:g} to {band[1]:g}")
        return band


class Member(Part):
    """One member of a jury.

    Attributes:
        weight: Of its opinion, relative to the others'; a member of weight 0 is not asked.
    """

    weight: FiniteFloat = Field(default=1.0, ge=0.0)


class Cascade(FrozenModel):
    """Cheap judges settle what they can, dearer ones what these leave, people the rest.

    Attributes:
        shape: ``cascade``.
        name: What people call it; by default that of the file.
        stages: In the order in which they are asked.
        fitted: What the bands were fitted on.
    """

    shape: Literal["cascade"]
    name: str = ""
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=MOST_STAGES)
    fitted: CompositionFit | None = None

    @property
    def parts(self) -> tuple[Stage, ...]:
        """The stages."""
        return self.stages


class Jury(FrozenModel):
    """Several judges are asked about every case; their opinions are weighed.

    Attributes:
        shape: ``jury``.
        name: What people call it; by default that of the file.
        members: The judges.
        aggregate: How their calibrated probabilities become one: the weighted mean of their log-odds, their weighted
            mean, or their weighted median.
        agreement: Least share of the weight, that of unjudged members included, whose own verdict is the jury's; below
            it the case is escalated.
        quorum: Least share of the weight that must have judged a case; below it the case is unjudged.
        threshold: Probabilities at or above it are violations; None takes the aggregate of the members' thresholds.
        calibration: Applied to the aggregate; None leaves it as it is.
        fitted: What weights, calibration and threshold were fitted on.
    """

    shape: Literal["jury"]
    name: str = ""
    members: tuple[Member, ...] = Field(min_length=2, max_length=MOST_MEMBERS)
    aggregate: Aggregate = "mean_logit"
    agreement: Probability = 0.0
    quorum: Probability = 0.5
    threshold: Probability | None = None
    calibration: PlattCalibrator | None = None
    fitted: CompositionFit | None = None

    @field_validator("members")
    @classmethod
    def _somebody_counts(cls, members: tuple[Member, ...]) -> tuple[Member, ...]:
        if not any(member.weight for member in members):
            raise ValueError("the weight of every member is 0")
        return members

    @property
    def parts(self) -> tuple[Member, ...]:
        """The members."""
        return self.members


Composition = Annotated[Cascade | Jury, Field(discriminator="shape")]
for _model in (Part, Stage, Member, Cascade, Jury):
    _model.model_rebuild()


def held_within(threshold: float, band: Band) -> float:
    """The threshold, or the end of the band that is nearest to it."""
    low, high = band
    return min(max(threshold, -1.0 if low is None else low), 2.0 if high is None else high)


def is_within(probability: float, band: Band) -> bool:
    """Whether a band leaves a probability to others: what is lower is allowed, what is not lower than its end violates.

    Args:
        probability: In [0, 1].
        band: As in :class:`Stage`.
    """
    low, high = band
    return (low is None or probability >= low) and (high is None or probability < high)
