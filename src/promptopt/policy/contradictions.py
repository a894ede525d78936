"""Finds what a policy says in one place and takes back in another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

import numpy as np

from promptopt.core.case import Label
from promptopt.core.yaml_file import Place
from promptopt.policy.model import BoundaryExample, Outcome, Policy, Rule
from promptopt.policy.routing import BoolArray, IndexArray, every_assignment, first_match

MAX_ENUMERATED = 16


class Kind(StrEnum):
    """Which promise is taken back."""

    NEVER_DECIDES = "never_decides"
    LIFTED_ZERO_TOLERANCE = "lifted_zero_tolerance"
    ALLOWED_ALONE = "allowed_alone"
    EXCEPTION_WITHOUT_EFFECT = "exception_without_effect"
    EXAMPLE_ON_OTHER_SIDE = "example_on_other_side"


class Contradiction(NamedTuple):
    """One contradiction.

    Attributes:
        kind: Which promise is taken back.
        place: Where in the policy, by keys and positions.
        message: What is wrong, as one clause of a sentence.
    """

    kind: Kind
    place: Place
    message: str


class RoutedClause(Protocol):
    """What the routing is measured against; a clause of a policy, or of a file that is not one yet."""

    @property
    def id(self) -> str: ...
    @property
    def severity(self) -> int | None: ...
    @property
    def is_violating(self) -> bool: ...
    @property
    def exceptions(self) -> tuple[str, ...]: ...
    @property
    def zero_tolerance(self) -> bool: ...


def contradictions(policy: Policy) -> list[Contradiction]:
    """What is wrong with the routing and the examples, measured against the clauses.

    Args:
        policy: A policy whose references are sound.

    Returns:
        A rule that can never decide; a violating clause that is no violation even when nothing else applies; a
        zero-tolerance clause that something lifts; an exception that does not lift its clause; a boundary example on
        the other side than the clause it cites. The first and the third are looked for in policies whose routing cites
        up to 16 clauses.
    """
    return [
        *routing_contradictions(policy.clauses, policy.routing),
        *misplaced_examples(policy.clauses, policy.boundary_examples),
    ]


def routing_contradictions(clauses: Sequence[RoutedClause], routing: Sequence[Rule]) -> list[Contradiction]:
    """As :func:`contradictions`, of routing and clauses alone.

    Args:
        clauses: With distinct ids.
        routing: Rules that cite these clauses only; the last one decides where none holds.

    Returns:
        Contradictions, whose places are positions in the given sequences.
    """
    cited = [c.id for c in clauses if any(c.id in rule.when.clauses for rule in routing)]
    found: list[Contradiction] = []
    if len(cited) <= MAX_ENUMERATED:
        table = every_assignment(len(cited))
        deciding = first_match(routing, cited, table)
        found.extend(_unreachable(routing, deciding))
        found.extend(_lifted_in_spite(clauses, routing, cited, table, deciding))
    for number, clause in enumerate(clauses):
        if clause.is_violating:
            found.extend(_clause_faults(clauses, routing, number))
    return found


def misplaced_examples(clauses: Sequence[RoutedClause], examples: Sequence[BoundaryExample]) -> Iterator[Contradiction]:
    """Boundary examples on the other side than the clause that they cite."""
    violating = {c.id: c.is_violating for c in clauses}
    for number, example in enumerate(examples):
        if example.clause in violating and violating[example.clause] != (example.label is Label.VIOLATION):
            yield Contradiction(
                Kind.EXAMPLE_ON_OTHER_SIDE,
                ("boundary_examples", number),
                f"boundary example {number + 1} is labelled {example.label} and cites {example.clause}, which says "
                "otherwise",
            )


def outcome(clauses: Sequence[RoutedClause], routing: Sequence[Rule], applying: set[str]) -> Outcome:
    """What the routing concludes for a text that exactly these clauses cover."""
    ids = [c.id for c in clauses]
    row = np.array([[i in applying for i in ids]])
    return routing[int(first_match(routing, ids, row)[0])].then


def _unreachable(routing: Sequence[Rule], deciding: IndexArray) -> Iterator[Contradiction]:
    reached = set(np.unique(deciding).tolist())
    for i, rule in enumerate(routing):
        if i not in reached:
            yield Contradiction(
                Kind.NEVER_DECIDES,
                ("routing", i),
                f"routing rule {rule.id} can never decide: its condition never holds where no earlier rule's does",
            )


def _lifted_in_spite(
    clauses: Sequence[RoutedClause],
    routing: Sequence[Rule],
    cited: Sequence[str],
    table: BoolArray,
    deciding: IndexArray,
) -> Iterator[Contradiction]:
    lenient = np.array([not rule.then.violates for rule in routing])[deciding]
    for clause in clauses:
        if (
            clause.is_violating
            and clause.zero_tolerance
            and clause.id in cited
            and (lifted := table[:, cited.index(clause.id)] & lenient).any()
        ):
            rule = int(deciding[lifted.argmax()])
            does = "allow it" if routing[rule].then is Outcome.ALLOWED else "leave it to people"
            yield Contradiction(
                Kind.LIFTED_ZERO_TOLERANCE,
                ("routing", rule),
                f"clause {clause.id} is zero_tolerance, but routing rule {routing[rule].id} can {does}",
            )


def _clause_faults(clauses: Sequence[RoutedClause], routing: Sequence[Rule], number: int) -> Iterator[Contradiction]:
    clause = clauses[number]
    if outcome(clauses, routing, {clause.id}) is Outcome.ALLOWED:
        yield Contradiction(
            Kind.ALLOWED_ALONE,
            ("clauses", number),
            f"clause {clause.id} has severity {clause.severity}, but the routing allows what only {clause.id} covers",
        )
        return
    for exception in clause.exceptions:
        if outcome(clauses, routing, {clause.id, exception}) is not Outcome.ALLOWED:
            yield Contradiction(
                Kind.EXCEPTION_WITHOUT_EFFECT,
                ("clauses", number, "exceptions"),
                f"{exception} is an exception of clause {clause.id}, but in the routing it does not lift it",
            )
