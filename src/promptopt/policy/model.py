"""The policy language: one YAML file per domain, read by people and models alike."""

from __future__ import annotations

import re
from datetime import date
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from promptopt.core.case import Label
from promptopt.core.content import PartLimit, PartName
from promptopt.core.digest import digest_data
from promptopt.core.model import FrozenModel, added
from promptopt.core.reading import Reading
from promptopt.core.yaml_file import Place

CLAUSE_ID = r"^[A-Z]{1,4}\d{1,3}(\.[a-z])?$"
SLOT = re.compile(r"\{([a-z_]+)\}")
DOMAIN_NAME = r"^[a-z][a-z0-9_]{1,39}$"
LOCALE = r"^([a-z]{2,3}(-[A-Z]{2})?|[A-Z]{2})$"
Words = Annotated[str, StringConstraints(min_length=1)]
Locale = Annotated[str, StringConstraints(pattern=LOCALE)]
# Only the schema for editors knows the pattern: the policy itself says which clauses there are to cite.
ClauseRef = Annotated[str, WithJsonSchema({"type": "string", "pattern": CLAUSE_ID})]


class PolicyFaultError(ValueError):
    """A part of a policy that does not agree with another part.

    Args:
        message: What is wrong.
        place: Keys and positions that lead to it (``"clauses", 0, "exceptions"``).
    """

    def __init__(self, message: str, *place: str | int) -> None:
        super().__init__(message)
        self.place: Place = place


class Action(StrEnum):
    """What the platform does with content that a clause covers."""

    REMOVE = "remove"
    RESTRICT = "restrict"
    LABEL = "label"
    ESCALATE = "escalate"
    ALLOW = "allow"


class Outcome(StrEnum):
    """What a routing rule concludes.

    ``escalate`` is a violation that goes to people at once. ``abstain`` leaves the decision to people: by rule the text
    is neither a violation nor allowed.
    """

    VIOLATION = "violation"
    ALLOWED = "allowed"
    ESCALATE = "escalate"
    ABSTAIN = "abstain"

    @property
    def violates(self) -> bool:
        """Whether the text is a violation by rule."""
        return self in (Outcome.VIOLATION, Outcome.ESCALATE)

    @property
    def to_people(self) -> bool:
        """Whether people decide or are told at once, whichever clause is cited."""
        return self in (Outcome.ESCALATE, Outcome.ABSTAIN)


class Term(FrozenModel):
    """A defined word of the policy.

    Attributes:
        term: The word.
        definition: What it means wherever the policy uses it.
    """

    term: Words
    definition: Words


class Clause(FrozenModel):
    """One numbered clause.

    A clause of severity 1 to 4 describes a violation; one of severity 0 describes a context that permits content
    which would otherwise violate.

    Attributes:
        id: Letters and a number (``"V2"``, ``"V2.b"``); verdicts cite it, so an id never gets another meaning.
        title: What people call it.
        severity: 1 (low) to 4 (critical) for a violation, 0 for a context that permits.
        definition: What the clause covers, by what can be seen in the text.
        question: A yes/no question that decides the clause from the text alone.
        includes: Kinds of text that the clause covers.
        excludes: Kinds of text that look alike and that it does not cover.
        exceptions: Ids of the severity-0 clauses that lift this clause.
        zero_tolerance: True when nothing lifts it.
        action: What the platform does; ``allow`` for severity 0 and for nothing else.
        parts: Names of the parts of a case that the clause is about (``title``, ``comments``); all of them when empty.
    """

    id: str = Field(pattern=CLAUSE_ID)
    title: Words
    severity: int = Field(ge=0, le=4)
    definition: Words
    question: Words
    includes: tuple[Words, ...] = Field(min_length=1)
    excludes: tuple[Words, ...] = Field(min_length=1)
    exceptions: tuple[ClauseRef, ...] = ()
    zero_tolerance: bool = False
    action: Action
    parts: tuple[PartName, ...] = added(())

    @property
    def is_violating(self) -> bool:
        return self.severity > 0


class When(FrozenModel):
    """Condition over clause answers; an empty condition always holds.

    Attributes:
        any: At least one of these clauses applies.
        all: Every one of these applies.
        none: Not one of these applies.
    """

    any: tuple[ClauseRef, ...] = ()
    all: tuple[ClauseRef, ...] = ()
    none: tuple[ClauseRef, ...] = ()

    @property
    def clauses(self) -> tuple[str, ...]:
        return (*self.any, *self.all, *self.none)

    @property
    def is_empty(self) -> bool:
        return not self.clauses


class Rule(FrozenModel):
    """One step of the routing: the first rule whose condition holds decides.

    Attributes:
        id: Verdicts and traces name it.
        when: The condition; ``{}`` always holds, and stands in the last rule only.
        then: What the rule concludes.
    """

    id: Words
    when: When
    then: Outcome


class BoundaryExample(FrozenModel):
    """A short text that shows where the line is, and which side it falls on.

    Attributes:
        text: The text.
        label: Its side.
        clause: The clause that decides it; null where no clause applies.
        why: The reason, in a few words.
    """

    text: Words
    label: Label
    clause: ClauseRef | None = None
    why: Words


class CaseTemplate(FrozenModel):
    """A sentence with slots, from which functional cases are made.

    Attributes:
        clause: The clause that the filled sentence falls under.
        text: The sentence; ``{name}`` stands for a slot.
        slots: Slot to the words that fill it.
        controls: Slot to words with which the clause no longer applies, everything else being the same.
    """

    clause: ClauseRef
    text: Words
    slots: dict[str, tuple[Words, ...]] = Field(default_factory=dict)
    controls: dict[str, tuple[Words, ...]] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _slots_are_filled(self) -> Self:
        named = set(SLOT.findall(self.text))
        if named != set(self.slots):
            raise ValueError(f"the text has slots {sorted(named)}, `slots` fills {sorted(self.slots)}")
        if unknown := sorted(set(self.controls) - named):
            raise ValueError(f"`controls` names slots that the text does not have: {unknown}")
        if empty := sorted(name for name, words in {**self.slots, **self.controls}.items() if not words):
            raise ValueError(f"nothing fills the slots {empty}")
        return self


class Change(FrozenModel):
    """One entry of the policy's own changelog.

    Attributes:
        version: The version that the change made.
        date: The day on which it came into force.
        change: What is different.
    """

    version: str
    date: date
    change: str


class Policy(FrozenModel):
    """A content policy for one risk domain.

    Attributes:
        schema_version: Version of the policy language.
        domain: Name that golden sets and configurations know the domain by.
        title: What people call it.
        version: The policy's own version.
        language: ISO 639-1 code of the policy's text.
        purpose: What it protects, and what it does not aim at.
        question: A yes/no question that decides the whole policy from the text alone; *yes* is a violation.
        summary: The policy in a few sentences.
        terms: Defined words.
        clauses: At least one of them violating.
        precedence: Every violating clause once, the one to cite first.
        routing: The first rule whose condition holds decides; the last one always holds.
        boundary_examples: Short texts on either side of the line.
        templates: Sentences with slots, for functional cases.
        locale_notes: Language (``de``), country (``AT``) or both (``de-AT``) to what readers have to know there: words
            that mean something else, the names of parties, what the law adds.
        part_limits: Name of a part of a case (``transcript``) to how much of it a judge reads.
        changelog: What changed when.
    """

    schema_version: Literal[1]
    domain: str = Field(pattern=DOMAIN_NAME)
    title: Words
    version: Words
    language: Words
    purpose: Words
    question: Words
    summary: Words
    terms: tuple[Term, ...] = ()
    clauses: tuple[Clause, ...] = Field(min_length=1)
    precedence: tuple[ClauseRef, ...]
    routing: tuple[Rule, ...] = Field(min_length=1)
    boundary_examples: tuple[BoundaryExample, ...] = ()
    templates: tuple[CaseTemplate, ...] = added(())
    locale_notes: dict[Locale, Words] = added({})
    part_limits: dict[PartName, PartLimit] = added({})
    changelog: tuple[Change, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the policy's content, independent of the file's layout."""
        return digest_data(self)

    @cached_property
    def by_id(self) -> dict[str, Clause]:
        """Clauses by id."""
        return {clause.id: clause for clause in self.clauses}

    def reading(self, question: str) -> Reading:
        """What a question reads of a case: a clause's the parts that it is about, any other all of them.

        Args:
            question: Id of a clause, or the name of a question about the whole policy.
        """
        clause = self.by_id.get(question)
        return Reading(parts=clause.parts if clause else (), limits=self.part_limits)

    @property
    def violating(self) -> tuple[Clause, ...]:
        """The clauses that describe violations, in file order."""
        return tuple(c for c in self.clauses if c.is_violating)

    @property
    def permitting(self) -> tuple[Clause, ...]:
        """The clauses that describe permitted contexts, in file order."""
        return tuple(c for c in self.clauses if not c.is_violating)

    @model_validator(mode="after")
    def _clauses_agree(self) -> Self:
        ids = [c.id for c in self.clauses]
        if repeated := {i for i in ids if ids.count(i) > 1}:
            second = next(n for n, i in enumerate(ids) if i in ids[:n])
            raise PolicyFaultError(f"clause ids used twice: {', '.join(sorted(repeated))}", "clauses", second, "id")
        for number, clause in enumerate(self.clauses):
            self._check_clause(clause, number)
        self._check_cited(self.precedence, "precedence", "precedence")
        violating = [c.id for c in self.violating]
        if not violating:
            raise PolicyFaultError(
                "no clause has a severity of 1 or more, so nothing can violate the policy", "clauses"
            )
        if sorted(self.precedence) != sorted(violating):
            raise PolicyFaultError(f"precedence must name every violating clause once: {violating}", "precedence")
        for number, template in enumerate(self.templates):
            self._check_cited((template.clause,), f"template {number + 1}", "templates", number, "clause")
        for number, example in enumerate(self.boundary_examples):
            if example.clause is not None:
                place = ("boundary_examples", number, "clause")
                self._check_cited((example.clause,), f"boundary example {number + 1}", *place)
        return self

    @model_validator(mode="after")
    def _routing_decides(self) -> Self:
        for number, rule in enumerate(self.routing):
            self._check_cited(rule.when.clauses, f"routing rule {rule.id}", "routing", number, "when")
        rule_ids = [rule.id for rule in self.routing]
        if repeated := {i for i in rule_ids if rule_ids.count(i) > 1}:
            second = next(n for n, i in enumerate(rule_ids) if i in rule_ids[:n])
            raise PolicyFaultError(
                f"routing rule ids used twice: {', '.join(sorted(repeated))}", "routing", second, "id"
            )
        last = len(self.routing) - 1
        if not self.routing[last].when.is_empty:
            what = f"routing must end with a rule whose `when` is empty, not {self.routing[last].id}"
            raise PolicyFaultError(what, "routing", last, "when")
        for number, rule in enumerate(self.routing[:last]):
            if rule.when.is_empty:
                what = f"routing rule {rule.id} always holds, so no rule after it can be reached"
                raise PolicyFaultError(what, "routing", number, "when")
        return self

    def _check_clause(self, clause: Clause, number: int) -> None:
        self._check_cited(clause.exceptions, f"exceptions of {clause.id}", "clauses", number, "exceptions")
        if clause.zero_tolerance and clause.exceptions:
            what = f"clause {clause.id} is zero_tolerance and cannot have exceptions"
            raise PolicyFaultError(what, "clauses", number, "exceptions")
        if clause.is_violating == (clause.action is Action.ALLOW):
            what = f"clause {clause.id}: action {clause.action} does not fit severity {clause.severity}"
            raise PolicyFaultError(what, "clauses", number, "action")
        for exception in clause.exceptions:
            if self.by_id[exception].is_violating:
                what = f"clause {clause.id}: exception {exception} is a violating clause"
                raise PolicyFaultError(what, "clauses", number, "exceptions")

    def _check_cited(self, cited: tuple[str, ...], where: str, *place: str | int) -> None:
        unknown = [i for i in cited if i not in self.by_id]
        if unknown:
            known = ", ".join(self.by_id)
            raise PolicyFaultError(f"{where} cites unknown clause {', '.join(unknown)} (known: {known})", *place)
