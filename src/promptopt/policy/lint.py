"""Finds what a policy says in one place and takes back in another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from promptopt.core.case import Label
from promptopt.policy.model import Clause, Outcome, Policy
from promptopt.policy.routing import BoolArray, IndexArray, every_assignment, first_match

MAX_ENUMERATED = 16


def contradictions(policy: Policy) -> list[str]:
    """What is wrong with the routing, measured against the clauses.

    Args:
        policy: A policy whose references are sound.

    Returns:
        One clause of a sentence per contradiction: a rule that can never decide; a violating clause that is no
        violation even when nothing else applies; a zero-tolerance clause that something lifts; an exception that does
        not lift its clause; a boundary example on the other side than the clause it cites. The first and the third are
        looked for in policies whose routing cites up to 16 clauses.
    """
    cited = [c.id for c in policy.clauses if any(c.id in rule.when.clauses for rule in policy.routing)]
    found: list[str] = []
    if len(cited) <= MAX_ENUMERATED:
        table = every_assignment(len(cited))
        deciding = first_match(policy.routing, cited, table)
        found.extend(_unreachable(policy, deciding))
        found.extend(_lifted_in_spite(policy, cited, table, deciding))
    found.extend(message for clause in policy.violating for message in _clause_faults(policy, clause))
    found.extend(_misplaced_examples(policy))
    return found


def _unreachable(policy: Policy, deciding: IndexArray) -> Iterator[str]:
    reached = set(np.unique(deciding).tolist())
    for i, rule in enumerate(policy.routing):
        if i not in reached:
            yield f"routing rule {rule.id} can never decide: its condition never holds where no earlier rule's does"


def _lifted_in_spite(policy: Policy, cited: Sequence[str], table: BoolArray, deciding: IndexArray) -> Iterator[str]:
    allowed = np.array([rule.then is Outcome.ALLOWED for rule in policy.routing])[deciding]
    for clause in policy.violating:
        if (
            clause.zero_tolerance
            and clause.id in cited
            and (lifted := table[:, cited.index(clause.id)] & allowed).any()
        ):
            rule = policy.routing[int(deciding[lifted.argmax()])]
            yield f"clause {clause.id} is zero_tolerance, but routing rule {rule.id} can allow it"


def _clause_faults(policy: Policy, clause: Clause) -> Iterator[str]:
    alone = _outcome(policy, {clause.id})
    if alone is Outcome.ALLOWED:
        yield f"clause {clause.id} has severity {clause.severity}, but the routing allows what only {clause.id} covers"
        return
    for exception in clause.exceptions:
        if _outcome(policy, {clause.id, exception}) is not Outcome.ALLOWED:
            yield f"{exception} is an exception of clause {clause.id}, but in the routing it does not lift it"


def _misplaced_examples(policy: Policy) -> Iterator[str]:
    for number, example in enumerate(policy.boundary_examples, start=1):
        clause = None if example.clause is None else policy.by_id[example.clause]
        if clause is not None and clause.is_violating != (example.label is Label.VIOLATION):
            yield f"boundary example {number} is labelled {example.label} and cites {clause.id}, which says otherwise"


def _outcome(policy: Policy, applying: set[str]) -> Outcome:
    ids = [c.id for c in policy.clauses]
    row = np.array([[i in applying for i in ids]])
    return policy.routing[int(first_match(policy.routing, ids, row)[0])].then
