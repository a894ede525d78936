"""The policy language: one YAML file per domain, read by people and models alike."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from promptopt.core.case import Label
from promptopt.core.digest import digest_data
from promptopt.core.model import FrozenModel

CLAUSE_ID = r"^[A-Z]{1,4}\d{1,3}(\.[a-z])?$"
DOMAIN_NAME = r"^[a-z][a-z0-9_]{1,39}$"


class Action(StrEnum):
    """What the platform does with content that a clause covers."""

    REMOVE = "remove"
    RESTRICT = "restrict"
    LABEL = "label"
    ESCALATE = "escalate"
    ALLOW = "allow"


class Outcome(StrEnum):
    """What a routing rule concludes; ``escalate`` is a violation that goes to people."""

    VIOLATION = "violation"
    ALLOWED = "allowed"
    ESCALATE = "escalate"


class Term(FrozenModel):
    """A defined word of the policy."""

    term: str
    definition: str


class Clause(FrozenModel):
    """One numbered clause.

    A clause of severity 1 to 4 describes a violation; one of severity 0 describes a context that permits content
    which would otherwise violate.

    Attributes:
        id: Letters and a number (``"V2"``, ``"V2.b"``); verdicts cite it.
        question: A yes/no question that decides the clause from the text alone.
        exceptions: Ids of the severity-0 clauses that lift this clause.
        zero_tolerance: True when nothing lifts it.
    """

    id: str = Field(pattern=CLAUSE_ID)
    title: str
    severity: int = Field(ge=0, le=4)
    definition: str
    question: str
    includes: tuple[str, ...] = Field(min_length=1)
    excludes: tuple[str, ...] = Field(min_length=1)
    exceptions: tuple[str, ...] = ()
    zero_tolerance: bool = False
    action: Action

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

    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    none: tuple[str, ...] = ()

    @property
    def clauses(self) -> tuple[str, ...]:
        return (*self.any, *self.all, *self.none)

    @property
    def is_empty(self) -> bool:
        return not self.clauses


class Rule(FrozenModel):
    """One step of the routing: the first rule whose condition holds decides."""

    id: str
    when: When
    then: Outcome


class BoundaryExample(FrozenModel):
    """A short text that shows where the line is, and which side it falls on."""

    text: str
    label: Label
    clause: str | None = None
    why: str


class Change(FrozenModel):
    """One entry of the policy's own changelog."""

    version: str
    date: date
    change: str


class Policy(FrozenModel):
    """A content policy for one risk domain."""

    schema_version: Literal[1]
    domain: str = Field(pattern=DOMAIN_NAME)
    title: str
    version: str
    language: str
    purpose: str
    question: str
    summary: str
    terms: tuple[Term, ...] = ()
    clauses: tuple[Clause, ...] = Field(min_length=1)
    precedence: tuple[str, ...]
    routing: tuple[Rule, ...] = Field(min_length=1)
    boundary_examples: tuple[BoundaryExample, ...] = ()
    changelog: tuple[Change, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the policy's content, independent of the file's layout."""
        return digest_data(self)

    @cached_property
    def by_id(self) -> dict[str, Clause]:
        """Clauses by id."""
        return {clause.id: clause for clause in self.clauses}

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
            raise ValueError(f"clause ids used twice: {sorted(repeated)}")
        for clause in self.clauses:
            self._check_clause(clause)
        self._check_cited(self.precedence, "precedence")
        violating = [c.id for c in self.violating]
        if sorted(self.precedence) != sorted(violating):
            raise ValueError(f"precedence must name every violating clause once: {violating}")
        for example in self.boundary_examples:
            if example.clause is not None:
                self._check_cited((example.clause,), "boundary_examples")
        return self

    @model_validator(mode="after")
    def _routing_decides(self) -> Self:
        for rule in self.routing:
            self._check_cited(rule.when.clauses, f"routing rule {rule.id}")
        rule_ids = [rule.id for rule in self.routing]
        if len(set(rule_ids)) < len(rule_ids):
            raise ValueError(f"routing rule ids used twice: {rule_ids}")
        if not self.routing[-1].when.is_empty:
            raise ValueError(f"routing must end with a rule whose `when` is empty, not {self.routing[-1].id}")
        for rule in self.routing[:-1]:
            if rule.when.is_empty:
                raise ValueError(f"routing rule {rule.id} always holds, so no rule after it can be reached")
        return self

    def _check_clause(self, clause: Clause) -> None:
        self._check_cited(clause.exceptions, f"exceptions of {clause.id}")
        if clause.zero_tolerance and clause.exceptions:
            raise ValueError(f"clause {clause.id} is zero_tolerance and cannot have exceptions")
        if clause.is_violating == (clause.action is Action.ALLOW):
            raise ValueError(f"clause {clause.id}: action {clause.action} does not fit severity {clause.severity}")
        for exception in clause.exceptions:
            if self.by_id[exception].is_violating:
                raise ValueError(f"clause {clause.id}: exception {exception} is a violating clause")

    def _check_cited(self, cited: tuple[str, ...], where: str) -> None:
        unknown = [i for i in cited if i not in self.by_id]
        if unknown:
            raise ValueError(f"{where} cites unknown clause {', '.join(unknown)} (known: {', '.join(self.by_id)})")
