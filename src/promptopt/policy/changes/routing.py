"""Two routings compared on their truth table: which combinations of clauses come to another outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from promptopt.core.case import Label
from promptopt.core.model import FrozenModel
from promptopt.policy.contradictions import MAX_ENUMERATED
from promptopt.policy.model import Outcome, Policy
from promptopt.policy.routing import BoolArray, IndexArray, every_assignment, first_match

MOST_SHOWN = 4
_NONE = -1
_OUTCOMES = tuple(Outcome)

Numbers = npt.NDArray[np.intp]


class Combination(FrozenModel):
    """Clauses that apply to a text while no other does, and what becomes of it.

    Attributes:
        clauses: Ids; empty where no clause applies.
        rule_before: The rule that decided.
        rule_now: The rule that decides.
    """

    clauses: tuple[str, ...]
    rule_before: str
    rule_now: str


class Transition(FrozenModel):
    """All combinations that go from one outcome to another.

    Attributes:
        clause: The new or removed clause that they are due to; None where the rules themselves are the cause.
        before: The former outcome.
        now: The present one.
        combinations: How many of all combinations they are.
        smallest: Combinations of which no part makes the same transition, the fewest clauses first; at most four.
    """

    clause: str | None
    before: Outcome
    now: Outcome
    combinations: int
    smallest: tuple[Combination, ...]


class Recited(FrozenModel):
    """Combinations that keep their label and cite another clause.

    Attributes:
        combinations: How many.
        before: The clause cited in the smallest of them.
        now: The clause that is cited there now.
        smallest: One with the fewest clauses; None where there are none.
    """

    combinations: int = 0
    before: str | None = None
    now: str | None = None
    smallest: Combination | None = None


class RoutingEffect(FrozenModel):
    """What the changes of routing, exceptions and precedence come to.

    Attributes:
        clauses: The clauses that the combinations are made of: all that either routing cites.
        combinations: Their number, 2 to the power of the clauses.
        transitions: Changes of outcome, those due to new or removed clauses last.
        recited: Changes of the clause that is cited.
    """

    clauses: tuple[str, ...]
    combinations: int
    transitions: tuple[Transition, ...] = ()
    recited: Recited = Recited()

    @property
    def changed(self) -> int:
        """Combinations with another outcome."""
        return sum(t.combinations for t in self.transitions)


@dataclass(frozen=True, slots=True)
class TruthTable:
    """What one policy concludes for every combination.

    Attributes:
        applies: bool of shape (combinations, clauses).
        rules: Index of the deciding rule, of shape (combinations,).
        outcomes: Position of its outcome among all outcomes.
        cited: Column of the clause that a violation cites; -1 where none is cited.
    """

    applies: BoolArray
    rules: IndexArray
    outcomes: Numbers
    cited: Numbers


@dataclass(frozen=True, slots=True)
class RoutingComparison:
    """Two policies on one truth table.

    Attributes:
        ids: Columns of the table.
        old: The former policy.
        new: The present one.
        before: The former conclusions.
        now: The present ones.
    """

    ids: tuple[str, ...]
    old: Policy
    new: Policy
    before: TruthTable
    now: TruthTable

    @property
    def outcome_differs(self) -> BoolArray:
        """Combinations that come to another outcome."""
        return np.asarray(self.before.outcomes != self.now.outcomes)

    @property
    def label_differs(self) -> BoolArray:
        """Combinations that come to another label; escalated violations are violations like the others."""
        labels = np.array([_OUTCOMES.index(Outcome.VIOLATION) if o.violates else i for i, o in enumerate(_OUTCOMES)])
        return np.asarray(labels[self.before.outcomes] != labels[self.now.outcomes])

    @property
    def citation_differs(self) -> BoolArray:
        """Combinations that keep their label and cite another clause."""
        return np.asarray(~self.label_differs & (self.before.cited != self.now.cited))

    def attributed(self, differs: BoolArray) -> Iterator[tuple[str | None, BoolArray]]:
        """The differing combinations by what they are due to.

        Args:
            differs: bool of shape (combinations,).

        Yields:
            None with those that differ also without the clauses that are new or removed, so that the rules are the
            cause; then each of these clauses with those that differ because of it, of several the first.
        """
        shared = self.old.by_id.keys() & self.new.by_id.keys()
        columns = [column for column, name in enumerate(self.ids) if name not in shared]
        numbers = np.arange(len(differs))
        for column in columns:
            numbers &= ~(1 << (len(self.ids) - 1 - column))  # the combination without the clause
        rules = differs & differs[numbers]
        yield None, rules
        left = differs & ~rules
        for column in columns:
            due = left & self.before.applies[:, column]
            yield self.ids[column], due
            left = left & ~due

    def possible(self, label: Label, clause: str | None) -> BoolArray:
        """The combinations that a label given under the former policy leaves open.

        The clause cited applies and the routing agrees with the label; a violation cites what the routing would. An
        allowed case that cites nothing falls under no permitted context. What only the new policy knows is open.

        Args:
            label: The label.
            clause: The clause cited; one that no routing knows says nothing.
        """
        outcomes = np.array([_fits(outcome, label) for outcome in _OUTCOMES])[self.before.outcomes]
        if clause in self.ids:
            column = self.ids.index(clause)
            cited = self.before.applies[:, column]
            return np.asarray(outcomes & (self.before.cited == column if label is Label.VIOLATION else cited))
        if clause is None and label is Label.ALLOWED:
            permitting = [i for i, name in enumerate(self.ids) if name in self.old.by_id and self._permits(name)]
            outcomes &= ~self.before.applies[:, permitting].any(axis=1)
        return np.asarray(outcomes)

    def _permits(self, clause: str) -> bool:
        return not self.old.by_id[clause].is_violating


def compare_routing(old: Policy, new: Policy) -> RoutingComparison | None:
    """Two policies on the truth table of all clauses that either routing cites.

    Returns:
        The comparison; None where they cite more than 16 clauses.
    """
    used = {c for policy in (old, new) for rule in policy.routing for c in rule.when.clauses}
    ids = tuple(dict.fromkeys(c.id for policy in (old, new) for c in policy.clauses if c.id in used))
    if len(ids) > MAX_ENUMERATED:
        return None
    applies = every_assignment(len(ids))
    return RoutingComparison(ids, old, new, _table(old, ids, applies), _table(new, ids, applies))


def routing_effect(compared: RoutingComparison) -> RoutingEffect:
    """What differs, in numbers and with the smallest combinations as examples."""
    return RoutingEffect(
        clauses=compared.ids,
        combinations=len(compared.before.applies),
        transitions=tuple(_transitions(compared)),
        recited=_recited(compared),
    )


def _fits(outcome: Outcome, label: Label) -> bool:
    return outcome is Outcome.ABSTAIN or outcome.violates == (label is Label.VIOLATION)


def _table(policy: Policy, ids: Sequence[str], applies: BoolArray) -> TruthTable:
    rules = first_match(policy.routing, ids, applies)
    outcomes = np.array([_OUTCOMES.index(rule.then) for rule in policy.routing], dtype=np.intp)[rules]
    cited = np.full(len(applies), _NONE, dtype=np.intp)
    for number, rule in enumerate(policy.routing):
        if not rule.then.violates:
            continue
        # As `functional.implied`: by precedence, those that the rule names before all others.
        named = [c for c in policy.precedence if c in rule.when.clauses]
        for clause in reversed([*named, *(c for c in policy.precedence if c not in named)]):
            if clause in ids:
                column = ids.index(clause)
                cited[(rules == number) & applies[:, column]] = column
    return TruthTable(applies, rules, outcomes, cited)


def _transitions(compared: RoutingComparison) -> Iterator[Transition]:
    before, now = compared.before.outcomes, compared.now.outcomes
    ways = sorted(set(zip(before.tolist(), now.tolist(), strict=True)))
    for clause, rows in compared.attributed(compared.outcome_differs):
        for was, becomes in ways:
            chosen = rows & (before == was) & (now == becomes)
            if chosen.any():
                yield Transition(
                    clause=clause,
                    before=_OUTCOMES[was],
                    now=_OUTCOMES[becomes],
                    combinations=int(chosen.sum()),
                    smallest=tuple(_combination(compared, row) for row in _smallest(compared.before.applies, chosen)),
                )


def _smallest(applies: BoolArray, chosen: BoolArray) -> Iterator[int]:
    """Rows of which no part is chosen too, the fewest clauses first."""
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(applies[rows].sum(axis=1), kind="stable")]
    for _ in range(MOST_SHOWN):
        if not len(rows):
            return
        first = int(rows[0])
        yield first
        rows = rows[(applies[rows] < applies[first]).any(axis=1)]


def _recited(compared: RoutingComparison) -> Recited:
    chosen = compared.citation_differs
    rows = list(_smallest(compared.before.applies, chosen))
    if not rows:
        return Recited()
    names = (*compared.ids, None)
    return Recited(
        combinations=int(chosen.sum()),
        before=names[compared.before.cited[rows[0]]],
        now=names[compared.now.cited[rows[0]]],
        smallest=_combination(compared, rows[0]),
    )


def _combination(compared: RoutingComparison, row: int) -> Combination:
    return Combination(
        clauses=tuple(name for name, yes in zip(compared.ids, compared.before.applies[row], strict=True) if yes),
        rule_before=compared.old.routing[compared.before.rules[row]].id,
        rule_now=compared.new.routing[compared.now.rules[row]].id,
    )
