"""What a bundle holds: everything that turns a text into a verdict, and the evidence for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import (
    AwareDatetime,
    Field,
    FiniteFloat,
    JsonValue,
    field_validator,
    model_validator,
)

from promptopt.bundle.drift import EXACT_TOLERANCE, Drift
from promptopt.core.case import Label, Split
from promptopt.core.content import ImagePart, PartedText, PartName
from promptopt.core.digest import digest_data
from promptopt.core.model import FrozenModel, added
from promptopt.core.prompt import ITEM_SLOT, LoweredPrompt
from promptopt.core.rationale import RATIONALE_SLOT
from promptopt.engines.base import EngineCard
from promptopt.metrics.bands import Band
from promptopt.metrics.certificates import Certificate
from promptopt.metrics.intervals import Interval
from promptopt.metrics.isotonic import Calibrator
from promptopt.metrics.operating_point import OperatingPoint
from promptopt.policy.jury import JuryProcedure
from promptopt.policy.model import DOMAIN_NAME
from promptopt.policy.procedure import Procedure

SCHEMA_VERSION: Final = 1
MAX_PARITY_CASES = 24
SHA256 = r"^[0-9a-f]{64}$"


class PolicyRecord(FrozenModel):
    """Which policy the judge applies."""

    title: str
    version: str
    digest: str = Field(pattern=SHA256)


class GoldenRecord(FrozenModel):
    """Which golden set the judge was chosen and measured on."""

    name: str
    digest: str = Field(pattern=SHA256)


class SplitScores(FrozenModel):
    """What the judge scored on one split.

    Attributes:
        metrics: Metric name to value and interval.
        cases: Cases in the split, unjudged ones included.
        positives: Violations among them.
        unjudged: Cases without a verdict.
    """

    metrics: dict[str, Interval]
    cases: int = Field(ge=0)
    positives: int = Field(ge=0)
    unjudged: int = Field(ge=0)


class ParityCase(FrozenModel):
    """A pinned case with what the judge said of it when the bundle was made.

    Attributes:
        id: Id of the golden case.
        text: Its text; of a case with parts, their rendering.
        parts: Its parts, if it has some.
        answers: Question name to the probability of the affirmative label, or to those of all labels where there are
            more than two.
        score: What :meth:`Procedure.score` made of the answers, before calibration: a steep calibration magnifies the
            last bits of a probability near 0 or 1, so parity is compared on this side of it.
        label: The verdict, after calibration and threshold.
    """

    id: str = Field(min_length=1)
    text: str = Field(min_length=1)
    answers: dict[str, FiniteFloat | tuple[FiniteFloat, ...]]
    score: FiniteFloat = Field(ge=0.0, le=1.0)
    label: Label
    parts: dict[PartName, str | ImagePart] | None = added(None)

    @property
    def item(self) -> str:
        """What questions are asked about, as :attr:`promptopt.core.case.Case.item`."""
        return self.text if self.parts is None else PartedText(self.parts)

    @model_validator(mode="after")
    def _rendered(self) -> Self:
        if self.item != self.text:
            raise ValueError("the text is not the rendering of the parts")
        return self


class SealOpening(FrozenModel):
    """One opening of the sealed test split.

    Attributes:
        opened: When.
        who: Who opened it.
        why: For what.
        candidate: Digest of the candidate it was opened for.
    """

    opened: AwareDatetime
    who: str
    why: str
    candidate: str


class PromptBundle(FrozenModel):
    """A judge ready for production.

    Attributes:
        schema_version: Version of this layout.
        name: Name of the bundle, for people and registries.
        domain: The policy's domain.
        created: When it was exported, UTC.
        promptopt: Version of the package that exported it.
        prompts: One lowered prompt per question of the procedure, in its order.
        procedure: From answers to verdict.
        calibration: Applied to the procedure's score; None leaves it as it is.
        certificate: What is certain about the threshold, on the scale of the procedure's score, or why nothing is;
            None where none was asked for.
        band: Cases between its ends are escalated to people; on the scale of the procedure's score.
        operating_point: The threshold, on the scale of the calibrated score, and how it was chosen.
        policy: The policy applied.
        golden: The golden set used.
        candidate: Digest of the winning candidate.
        engine: The engine card of the judge that was measured (:meth:`EngineCard.to_dict`).
        fingerprint: The card's fingerprint.
        judge: How to load the judge again: the judge configuration as plain data.
        scores: What it scored, by split.
        parity: Pinned cases, 16 to 24 of them where the search split has as many.
        drift: What other company did to the pinned cases when the bundle was made; None where it does nothing (float32)
            or was not measured.
        openings: Every opening of the sealed test split.
        policy_source: The policy file's text, shipped as a copy when given.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str = Field(min_length=1)
    domain: str = Field(pattern=DOMAIN_NAME)
    created: AwareDatetime
    promptopt: str
    prompts: tuple[LoweredPrompt, ...] = Field(min_length=1)
    procedure: Procedure | JuryProcedure
    calibration: Calibrator | None = None
    certificate: Certificate | None = None
    band: Band | None = None
    operating_point: OperatingPoint
    policy: PolicyRecord
    golden: GoldenRecord
    candidate: str = Field(pattern=SHA256)
    engine: dict[str, JsonValue]
    fingerprint: str = Field(pattern=SHA256)
    judge: dict[str, JsonValue]
    scores: dict[Split, SplitScores]
    parity: tuple[ParityCase, ...] = Field(min_length=1, max_length=MAX_PARITY_CASES)
    drift: Drift | None = added(None)
    openings: tuple[SealOpening, ...] = ()
    policy_source: str | None = None

    @classmethod
    def load(cls, folder: Path | str) -> PromptBundle:
        """Reads and checks a bundle; see :func:`promptopt.bundle.files.read_bundle`."""
        from promptopt.bundle.files import read_bundle  # the file layer imports this module

        return read_bundle(Path(folder))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content, independent of the file layout."""
        return digest_data(self)

    @property
    def engine_card(self) -> EngineCard:
        """The card of the judge that was measured."""
        return card_of(self.engine)

    @property
    def tolerance(self) -> float:
        """Largest difference of a pinned probability that passes on the judge that was measured."""
        return EXACT_TOLERANCE if self.drift is None else self.drift.tolerance

    @field_validator("created")
    @classmethod
    def _in_utc(cls, created: datetime) -> datetime:
        return created.astimezone(UTC)

    @model_validator(mode="after")
    def _questions_agree(self) -> Self:
        asked = tuple(prompt.question for prompt in self.prompts)
        if asked != self.procedure.questions:
            raise ValueError(f"prompts ask {list(asked)}, the procedure needs {list(self.procedure.questions)}")
        rest = iter(self.prompts)
        for procedure in self.procedure.single:
            own = [next(rest) for _ in procedure.questions]
            if (procedure.shape == "reasoned") != any(prompt.rationale is not None for prompt in own):
                raise ValueError("prompts ask for a rationale where the procedure is reasoned, and nowhere else")
            if procedure.verbalizer is not None and len(own[0].labels) != len(procedure.verbalizer.weights):
                raise ValueError(
                    f"the prompt has {len(own[0].labels)} labels, the verbalizer weighs "
                    f"{len(procedure.verbalizer.weights)}"
                )
            if procedure.shape == "graded" and len(own[0].labels) != len(procedure.severities):
                raise ValueError(
                    f"the prompt has {len(own[0].labels)} labels, the policy's severities are "
                    f"{list(procedure.severities)}"
                )
        for prompt in self.prompts:
            for segments in (prompt.segments, prompt.rationale.segments if prompt.rationale else prompt.segments):
                slots = {segment.slot for segment in segments} - {None, RATIONALE_SLOT}
                if slots != {ITEM_SLOT}:
                    found = sorted(map(str, slots))
                    raise ValueError(f"prompt {prompt.question} must have the one slot {ITEM_SLOT!r}, found {found}")
        return self

    @model_validator(mode="after")
    def _storable(self) -> Self:
        digest_data(self)
        return self

    @model_validator(mode="after")
    def _evidence_agrees(self) -> Self:
        if self.fingerprint != self.engine_card.fingerprint:
            raise ValueError("fingerprint is not that of the engine card")
        ids = [case.id for case in self.parity]
        if repeated := sorted({i for i in ids if ids.count(i) > 1}):
            raise ValueError(f"parity case ids used twice: {repeated}")
        for case in self.parity:
            if set(case.answers) != set(self.procedure.questions):
                raise ValueError(f"parity case {case.id} does not answer the questions of the procedure")
            for prompt in self.prompts:
                given = case.answers[prompt.question]
                if (len(given) if isinstance(given, tuple) else 2) != len(prompt.labels):
                    raise ValueError(f"parity case {case.id} does not answer with the labels of {prompt.question}")
        return self


def card_of(data: Mapping[str, Any]) -> EngineCard:
    """The engine card that :meth:`EngineCard.to_dict` wrote.

    Raises:
        ValueError: A fact is missing or unknown.
    """
    try:
        return EngineCard(**data)
    except TypeError as cause:
        raise ValueError(
            f"the engine card does not fit: {str(cause).removeprefix('EngineCard.__init__() ')}"
        ) from cause


def metric_names(scores: Mapping[Split, SplitScores]) -> Iterator[str]:
    """Metric names of all splits, in order of first appearance."""
    yield from dict.fromkeys(name for split in scores.values() for name in split.metrics)
