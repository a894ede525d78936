"""The search space: what a sweep may vary, declared in ``configs/search``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from promptopt.core.candidate import Choice
from promptopt.core.digest import digest_data
from promptopt.core.model import FrozenModel
from promptopt.core.rationale import MAX_SAMPLES, MAX_TOKENS
from promptopt.errors import ConfigError
from promptopt.policy.grading import MAX_SEVERITY, SEVERITY_WORDS
from promptopt.policy.procedure import Aggregate, GradeScore, Shape
from promptopt.policy.rendering import ClauseOrder, ClauseSubset, ExceptionPlace, Rendering, lists_clauses
from promptopt.policy.verbalizer import PANEL
from promptopt.programs.prompt_format import Placement, PromptFormat, Quoting
from promptopt.search.dimensions import find_dimension
from promptopt.search.dimensions.base import PromptDraft

DemoChoice = Literal["balanced", "clauses", "contrast", "hard", "central", "boundary", "precedents"]
DemoOrder = Literal["alternating", "violations_first", "allowed_first"]


DEMO_DIMENSIONS = frozenset({"demo_count", "demo_choice", "demo_order", "demo_draw"})
LISTING: Mapping[str, Choice] = MappingProxyType(
    {"clause_subset": "all", "clause_order": "file", "exceptions": "last", "severities": False}
)
"""What a space that does not vary how clauses are listed takes."""
WRITTEN = "written"
"""Choice of a component whose text was written and is none of the space's own."""
JUDGE = "judge"
"""Dimension of a space with several judges."""
_SEVERAL = 2
_ANY_DRAFT = PromptDraft("Decide.", "Policy.", "en", PromptFormat())


class LabelWords(FrozenModel):
    """A pair of answer words.

    The keys are not ``yes`` and ``no``, which YAML 1.1 reads as booleans.

    Attributes:
        violation: Answers the direct question when the text violates.
        allowed: Answers it when the text does not.
        applies: Answers a checklist's clause question when the clause applies.
        absent: Answers it when the clause does not.
        grades: Answer a graded question: words of the severities 0 to 4. A program uses those that its policy's clauses
            have.
    """

    violation: str
    allowed: str
    applies: str = "yes"
    absent: str = "no"
    grades: tuple[str, ...] = SEVERITY_WORDS

    @model_validator(mode="after")
    def _pairs_differ(self) -> Self:
        for yes, no in ((self.violation, self.allowed), (self.applies, self.absent)):
            if not yes.strip() or not no.strip() or yes == no:
                raise ValueError(f"a pair of answer words must differ and not be blank, found {yes!r} and {no!r}")
        words = {word.strip() for word in self.grades} - {""}
        if len(words) < len(self.grades) or len(words) != MAX_SEVERITY + 1:
            raise ValueError(
                f"`grades` needs {MAX_SEVERITY + 1} words that differ, for the severities 0 to {MAX_SEVERITY}, "
                f"found {list(self.grades)}"
            )
        return self


class DemoSpace(FrozenModel):
    """How demonstrations are chosen from the demonstration pool.

    Attributes:
        counts: How many to show.
        choices: ``balanced`` by label; ``clauses`` round the clauses; ``contrast`` whole contrast pairs first;
            ``hard`` hard negatives against violations; ``central`` those most like the rest of the pool;
            ``boundary`` the policy's own boundary examples; ``precedents`` cases that were decided before.
        precedents: File of those, in the format of golden cases.
        orders: In which order to show them.
        draws: Independent random draws per choice.
        max_chars: Longer texts are not shown: every case of every candidate pays for a demonstration.
    """

    counts: tuple[Annotated[int, Field(ge=0)], ...] = (0, 2, 4)
    choices: tuple[DemoChoice, ...] = ("balanced",)
    precedents: str | None = None
    orders: tuple[DemoOrder, ...] = ("alternating",)
    draws: int = Field(default=1, ge=1)
    max_chars: int = Field(default=400, ge=1)

    @model_validator(mode="after")
    def _precedents_are_shown(self) -> Self:
        if ("precedents" in self.choices) != (self.precedents is not None):
            raise ValueError(
                f"`precedents` is {self.precedents!r} and `choices` is {list(self.choices)}; name a file of decided "
                "cases in `precedents` and list `precedents` among the `choices`, or neither"
            )
        return self


class RationaleSpace(FrozenModel):
    """How a judge of the reasoned shape writes before it answers.

    Attributes:
        samples: How many rationales are written about a case; each costs a judgement. Where the temperature is 0 there
            is only one, whatever is chosen here.
        max_tokens: Most tokens of one.
        temperatures: Of their sampling; 0 takes the likeliest token at each step.
        seed: Of the draws.
    """

    samples: tuple[Annotated[int, Field(ge=1, le=MAX_SAMPLES)], ...] = (1,)
    max_tokens: tuple[Annotated[int, Field(ge=1, le=MAX_TOKENS)], ...] = (48,)
    temperatures: tuple[Annotated[float, Field(ge=0.0, allow_inf_nan=False)], ...] = (0.7,)
    seed: int = 0


class PanelSpace(FrozenModel):
    """What a judge of the verbalized shape is read by.

    Attributes:
        words: Besides the two answers; the first token of each is what is read, as far as it tells them apart.
        prior: File of weights from other domains, made by ``promptopt verbalizer fit``; None starts from nothing.
    """

    words: tuple[str, ...] = Field(default=PANEL, min_length=1)
    prior: str | None = None

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len({word.strip() for word in self.words} - {""}) < len(self.words):
            raise ValueError(f"the words of a panel must differ and not be blank, found {list(self.words)}")
        return self


class SearchSpace(FrozenModel):
    """The dimensions of a sweep; each lists the choices that may be tried.

    Attributes:
        shapes: Program shapes.
        aggregates: How a checklist's answers are combined.
        grade_scores: What a graded answer is worth.
        panel: What a judge of the verbalized shape is read by.
        rationale: What a judge of the reasoned shape writes before it answers.
        policies: Policy renderings.
        clause_subsets: Which violating clauses a rendering lists.
        clause_orders: In which order.
        exceptions: Where it lists permitting clauses.
        severities: Whether it names severities.
        instructions: Instruction id to text; ``{title}`` stands for the policy's title.
        label_words: Id to pair of answer words.
        quotings: How the item is set apart.
        placements: Where the question stands.
        demos: Demonstrations.
        judges: Names of the judges, the seed prompt's first; fewer than two are no dimension.
        extra: Name of a dimension of ``promptopt.search.dimensions`` to its choices, the seed prompt's first.
        seed: The seed prompt: dimension to choice. It is trial 0 and what the winner is compared with.
    """

    shapes: tuple[Shape, ...] = ("direct",)
    aggregates: tuple[Aggregate, ...] = ("routing",)
    grade_scores: tuple[GradeScore, ...] = ("violation",)
    panel: PanelSpace = PanelSpace()
    rationale: RationaleSpace = RationaleSpace()
    policies: tuple[Rendering, ...] = ("summary",)
    clause_subsets: tuple[ClauseSubset, ...] = ("all",)
    clause_orders: tuple[ClauseOrder, ...] = ("file",)
    exceptions: tuple[ExceptionPlace, ...] = ("last",)
    severities: tuple[bool, ...] = (False,)
    instructions: dict[str, str] = Field(min_length=1)
    label_words: dict[str, LabelWords] = Field(min_length=1)
    quotings: tuple[Quoting, ...] = ("quotes",)
    placements: tuple[Placement, ...] = ("item_first",)
    demos: DemoSpace = DemoSpace()
    judges: tuple[str, ...] = ()
    extra: dict[str, tuple[Choice, ...]] = Field(default_factory=dict)
    seed: dict[str, Choice]

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the space and the order of its choices, which Optuna's proposals depend on.

        A study is resumed only with the space it was started with.
        """
        ordered = {name: list(choices) for name, choices in self.dimensions.items()}
        return digest_data({"space": self._as_declared(), "order": ordered})

    def _as_declared(self) -> dict[str, Any]:
        """The space as data, without what belongs to shapes that it does not have, and without a single judge's name.

        Spaces of the first two shapes and of one judge keep the digest that they had before there were others. Where
        the files of precedents and of a prior lie is no part of it; what they say belongs to the study's identity.
        """
        data = self.model_dump(mode="json")
        del data["demos"]["precedents"], data["panel"]["prior"]
        if len(self.judges) < _SEVERAL:
            del data["judges"]
        if "reasoned" not in self.shapes:
            del data["rationale"]
        if "verbalized" not in self.shapes:
            del data["panel"]
        if "graded" not in self.shapes:
            del data["grade_scores"]
            for words in data["label_words"].values():
                del words["grades"]
        return data

    @cached_property
    def dimensions(self) -> dict[str, tuple[Choice, ...]]:
        """Dimension name to its choices, all scalars, in a fixed order."""
        listing: dict[str, tuple[Choice, ...]] = {
            "clause_subset": self.clause_subsets,
            "clause_order": self.clause_orders,
            "exceptions": self.exceptions,
            "severities": self.severities,
        }
        built_in: dict[str, tuple[Choice, ...]] = {
            "shape": self.shapes,
            "aggregate": self.aggregates,
            "policy": self.policies,
            "instruction": tuple(self.instructions),
            "labels": tuple(self.label_words),
            "quoting": self.quotings,
            "placement": self.placements,
            "demo_count": self.demos.counts,
            "demo_choice": self.demos.choices,
            "demo_order": self.demos.orders,
            "demo_draw": tuple(range(self.demos.draws)),
            # What nobody varies is not proposed, so that spaces from before it existed keep their proposals.
            **{name: choices for name, choices in listing.items() if choices != (LISTING[name],)},
            **({"grade_score": self.grade_scores} if "graded" in self.shapes else {}),
            **(self._rationales if "reasoned" in self.shapes else {}),
            **({JUDGE: self.judges} if len(self.judges) >= _SEVERAL else {}),
        }
        extra = {name: choices for name, choices in self.extra.items() if choices != ("none",)}
        if taken := extra.keys() & (built_in.keys() | LISTING.keys()):
            raise ValueError(f"the dimension {min(taken)!r} of `extra` has the name of a built-in one; rename it")
        return {**built_in, **extra}

    @property
    def _rationales(self) -> dict[str, tuple[Choice, ...]]:
        return {
            "rationale_tokens": self.rationale.max_tokens,
            "rationale_temperature": self.rationale.temperatures,
            "rationale_samples": self.rationale.samples,
        }

    def active(self, point: Mapping[str, Choice]) -> frozenset[str]:
        """The dimensions that matter at a point; all choices in the others come to one candidate."""
        off: set[str] = set()
        if point["shape"] != "checklist":
            off.add("aggregate")
        if point["shape"] != "graded":
            off.add("grade_score")
        if point["shape"] != "reasoned":
            off.update(self._rationales)
        elif not point["rationale_temperature"]:
            off.add("rationale_samples")
        if not point["demo_count"]:
            off.update(DEMO_DIMENSIONS - {"demo_count"})
        if point["policy"] == WRITTEN or not lists_clauses(point["policy"]):  # type: ignore[arg-type]
            off.update(LISTING)
        off.update(name for name in self.extra if not find_dimension(name).applies(point))
        return frozenset(self.dimensions) - off

    @property
    def size(self) -> int:
        """Number of points in the space, before those that come to the same prompt are counted once."""
        total = 1
        for choices in self.dimensions.values():
            total *= len(choices)
        return total

    def seed_point(self) -> dict[str, Choice]:
        """The seed prompt's choice in every dimension."""
        return {name: self.seed.get(name, choices[0]) for name, choices in self.dimensions.items()}

    @model_validator(mode="after")
    def _extra_is_known(self) -> Self:
        for name, choices in self.extra.items():
            try:
                for choice in choices:
                    find_dimension(name).change(_ANY_DRAFT, choice)
            except ConfigError as cause:
                raise ValueError(f"{cause.what}; {cause.remedy}") from cause
        return self

    @model_validator(mode="after")
    def _prior_is_for_a_panel(self) -> Self:
        if self.panel.prior is not None and "verbalized" not in self.shapes:
            raise ValueError(
                f"`panel.prior` is {self.panel.prior!r} and no shape is verbalized; add `verbalized` to `shapes`, or "
                "leave the prior out"
            )
        return self

    @model_validator(mode="after")
    def _is_searchable(self) -> Self:
        for name, text in self.instructions.items():
            if not text.strip():
                raise ValueError(f"instruction {name!r} is empty")
        for name, choices in self.dimensions.items():
            if not choices or len(set(choices)) < len(choices):
                raise ValueError(f"dimension {name!r} needs distinct choices, found {list(choices)}")
        for name, choice in self.seed.items():
            if name not in self.dimensions:
                raise ValueError(f"seed names unknown dimension {name!r} (known: {', '.join(self.dimensions)})")
            if not any(choice == other and type(choice) is type(other) for other in self.dimensions[name]):
                raise ValueError(f"seed.{name} is {choice!r}, not one of {list(self.dimensions[name])}")
        return self
