"""Which labelled cases a change of the policy touches, and which of them people have to read again.

The rules are those of docs/design/policy-changes.md. Whatever cites clauses can be asked about: golden cases now, and
precedents as soon as there is a ledger of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import Protocol

from pydantic import Field

from promptopt.core.case import Label, Split
from promptopt.core.model import FrozenModel
from promptopt.policy.changes.model import Changed, Weight
from promptopt.policy.changes.routing import RoutingComparison
from promptopt.policy.model import Policy

ROUTING = "Routing"


class Labelled(Protocol):
    """A decided text: what it was decided, and by which clause."""

    @property
    def id(self) -> str: ...
    @property
    def label(self) -> Label: ...
    @property
    def clause(self) -> str | None: ...
    @property
    def pair(self) -> str | None: ...
    @property
    def split(self) -> Split | None: ...


class Reason(StrEnum):
    """Why a change touches a case.

    ``cites``: it cites a clause whose meaning changed. ``pair``: the other half of its contrast pair does.
    ``outcome``: a combination of clauses that its label leaves open comes to another label, or is left to people.
    ``citation``: such a combination cites another clause. ``record``: it cites a clause whose severity or action
    changed.
    """

    CITES = "cites"
    PAIR = "pair"
    OUTCOME = "outcome"
    CITATION = "citation"
    RECORD = "record"


class Touched(FrozenModel):
    """Cases that one change touches for one reason.

    Attributes:
        where: The clause or term that changed; ``Routing`` for rules, exceptions and precedence.
        reason: Why.
        cases: Their ids.
    """

    where: str
    reason: Reason
    cases: tuple[str, ...]


class CaseEffect(FrozenModel):
    """What the changes do to a set of labelled cases.

    Attributes:
        name: Name of the set.
        cases: How many it has.
        touched: Which cases, by change and reason.
        reannotate: Ids of those that people have to read again.
        citation_only: Ids of these whose outcome cannot change, but only the clause that they cite.
        reannotate_by_split: How many of these each split has.
        update: Ids of the others that cite a clause with another severity or action, which a program can set.
        allowed_unread: Allowed cases that nobody has to read again although a violating clause means something else:
            a wider clause may cover some of them, which no rule can tell.
        unknown: Cases that cite a clause which neither policy has.
    """

    name: str
    cases: int
    touched: tuple[Touched, ...] = ()
    reannotate: tuple[str, ...] = ()
    citation_only: tuple[str, ...] = ()
    reannotate_by_split: dict[str, int] = Field(default_factory=dict)
    update: tuple[str, ...] = ()
    allowed_unread: int = 0
    unknown: int = 0


def case_effect(
    name: str,
    cases: Sequence[Labelled],
    changes: Sequence[Changed],
    compared: RoutingComparison | None,
    policies: tuple[Policy, Policy],
) -> CaseEffect:
    """Which cases the changes touch.

    Args:
        name: Name of the set.
        cases: Its cases, labelled under the former policy.
        changes: From one policy to the other.
        compared: Their routings; None where these are too large for a truth table, and every case then counts as
            touched by a change of routing.
        policies: The former and the present one.

    Returns:
        The effect. Ids come in the order of the cases.
    """
    touched = [*_by_citation(cases, changes), *_by_routing(cases, changes, compared)]
    at_all = _ids(touched, set(Reason) - {Reason.RECORD, Reason.CITATION})
    cited = _ids(touched, {Reason.CITATION}) - at_all
    again = at_all | cited
    recorded = _ids(touched, {Reason.RECORD}) - again
    splits = Counter(case.split for case in cases if case.id in again)
    old, new = policies
    known = {*old.by_id, *new.by_id, None}
    violating = {c.id for policy in policies for c in policy.violating}
    moved = any(c.weight is Weight.MEANING and violating.intersection(c.clauses) for c in changes)
    unread = [c for c in cases if c.label is Label.ALLOWED and c.id not in again]
    return CaseEffect(
        name=name,
        cases=len(cases),
        touched=tuple(touched),
        reannotate=tuple(c.id for c in cases if c.id in again),
        citation_only=tuple(c.id for c in cases if c.id in cited),
        reannotate_by_split={split.value: splits[split] for split in Split if splits[split]},
        update=tuple(c.id for c in cases if c.id in recorded),
        allowed_unread=len(unread) if moved else 0,
        unknown=sum(case.clause not in known for case in cases),
    )


def _ids(touched: Iterable[Touched], reasons: Collection[Reason]) -> set[str]:
    return {i for t in touched if t.reason in reasons for i in t.cases}


def _by_citation(cases: Sequence[Labelled], changes: Iterable[Changed]) -> Iterable[Touched]:
    for where, clauses in _about(changes, Weight.MEANING):
        citing = [case for case in cases if case.clause in clauses]
        yield from _touched(where, Reason.CITES, citing)
        pairs = {case.pair for case in citing} - {None}
        yield from _touched(where, Reason.PAIR, [c for c in cases if c.pair in pairs and c.clause not in clauses])
    for where, clauses in _about(changes, Weight.RECORD):
        yield from _touched(where, Reason.RECORD, [case for case in cases if case.clause in clauses])


def _about(changes: Iterable[Changed], weight: Weight) -> Iterable[tuple[str, set[str]]]:
    """Each place with a change of this weight, and the clauses that its changes are about."""
    found: dict[str, set[str]] = {}
    for change in changes:
        if change.weight is weight and change.clauses:
            found.setdefault(change.where, set()).update(change.clauses)
    return found.items()


def _by_routing(
    cases: Sequence[Labelled], changes: Sequence[Changed], compared: RoutingComparison | None
) -> Iterable[Touched]:
    if all(change.weight not in (Weight.ROUTING, Weight.MEANING) for change in changes):
        return
    if compared is None:
        if any(change.weight is Weight.ROUTING for change in changes):
            yield from _touched(ROUTING, Reason.OUTCOME, cases)
        return
    possible = {key: compared.possible(*key) for key in {(case.label, case.clause) for case in cases}}
    for reason, differs in (
        (Reason.OUTCOME, compared.label_differs),
        (Reason.CITATION, compared.citation_differs),
    ):
        for clause, rows in compared.attributed(differs):
            open_to = {key for key, combinations in possible.items() if (combinations & rows).any()}
            yield from _touched(clause or ROUTING, reason, [c for c in cases if (c.label, c.clause) in open_to])


def _touched(where: str, reason: Reason, cases: Sequence[Labelled]) -> Iterable[Touched]:
    if cases:
        yield Touched(where=where, reason=reason, cases=tuple(case.id for case in cases))
