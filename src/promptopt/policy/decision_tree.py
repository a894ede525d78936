"""Compiles routing rules into the decision procedure that people follow: one yes/no question after another.

The rules are followed symbolically. Each answer simplifies the rules that are still open, two ways that leave the same
rules open share their further steps, and so a way asks about no clause twice (the idea of reduced decision diagrams,
Bryant 1986, with the order of the questions left to the rules).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from string import ascii_uppercase
from typing import Literal

from promptopt.core.model import FrozenModel
from promptopt.errors import PolicyError
from promptopt.policy.model import Action, Clause, Outcome, Policy

MAX_STEPS = 400

Part = Literal["condition", "exception"]


class Consequence(FrozenModel):
    """What follows when a clause is cited."""

    clause: str
    title: str
    severity: int
    action: Action


class Step(FrozenModel):
    """One question.

    Attributes:
        number: From 1; answers only lead to higher numbers.
        clause: Id of the clause that the question decides.
        title: The clause's.
        question: Answered yes or no from the text alone.
        definition: What *yes* means.
        includes: What counts.
        excludes: What does not.
        rule: Id of the rule that the question is asked for.
        part: ``condition`` when *yes* speaks for the rule, ``exception`` when *yes* speaks against it.
        yes: The number of the next step, or the letters of an ending.
        no: The same for *no*.
    """

    number: int
    clause: str
    title: str
    question: str
    definition: str
    includes: tuple[str, ...]
    excludes: tuple[str, ...]
    rule: str
    part: Part
    yes: str
    no: str


class Ending(FrozenModel):
    """Where the questions end.

    Attributes:
        id: Letters, which no clause id is.
        rule: Id of the rule that decides.
        outcome: What it concludes.
        consequences: The clauses that may be cited, the first by precedence first; where there are several, those that
            were answered *yes* are meant. Where the rule abstains, what would follow if people call it a violation.
            Empty for an allowed outcome.
    """

    id: str
    rule: str
    outcome: Outcome
    consequences: tuple[Consequence, ...] = ()

    @property
    def look(self) -> Outcome:
        """The outcome that it is drawn as: also ``escalate`` where every clause that may be cited escalates."""
        escalating = bool(self.consequences) and {c.action for c in self.consequences} == {Action.ESCALATE}
        return Outcome.ESCALATE if self.outcome.violates and escalating else self.outcome


class DecisionTree(FrozenModel):
    """A policy's decision procedure; branches that go on alike are joined.

    Attributes:
        start: Where it begins: ``"1"``, or the only ending.
        steps: In the order in which they are read.
        endings: In the order in which the steps lead to them.
    """

    start: str
    steps: tuple[Step, ...]
    endings: tuple[Ending, ...]

    @cached_property
    def step(self) -> dict[str, Step]:
        """Steps by number, as answers name them."""
        return {str(s.number): s for s in self.steps}

    @cached_property
    def ending(self) -> dict[str, Ending]:
        """Endings by id."""
        return {e.id: e for e in self.endings}

    @cached_property
    def sources(self) -> dict[str, tuple[tuple[int, bool], ...]]:
        """Step or ending to the steps and answers that lead there."""
        found: dict[str, list[tuple[int, bool]]] = {}
        for step in self.steps:
            found.setdefault(step.yes, []).append((step.number, True))
            found.setdefault(step.no, []).append((step.number, False))
        return {target: tuple(ways) for target, ways in found.items()}

    def path(self, answers: Mapping[str, bool]) -> tuple[tuple[Step, ...], Ending | None]:
        """The questions that are asked, and where they end.

        Args:
            answers: Clause id to whether it applies.

        Returns:
            The steps in order, and the ending; None when the last of these steps is not answered.
        """
        asked: list[Step] = []
        at = self.start
        while at in self.step:
            step = self.step[at]
            asked.append(step)
            if step.clause not in answers:
                return tuple(asked), None
            at = step.yes if answers[step.clause] else step.no
        return tuple(asked), self.ending[at]


def compile_tree(policy: Policy) -> DecisionTree:
    """The decision procedure of a policy.

    Args:
        policy: The policy.

    Returns:
        Steps and endings. For every set of answers the way through them ends with the rule of
        :func:`promptopt.policy.routing.first_match`. Of the clauses of which a rule needs any, the first by precedence
        is asked about first.

    Raises:
        PolicyError: The procedure would have more than ``MAX_STEPS`` steps.
    """
    return _Compiler(policy).tree()


@dataclass(frozen=True, slots=True)
class _Open:
    """What a rule still waits for; ``any`` is None when none of its clauses is needed any more."""

    rule: int
    any: frozenset[str] | None
    all: frozenset[str]
    none: frozenset[str]

    @property
    def holds(self) -> bool:
        return self.any is None and not self.all and not self.none

    def after(self, clause: str, applies: bool) -> _Open | None:
        """The rule when the answer is known; None when it cannot hold any more."""
        if clause in (self.none if applies else self.all):
            return None
        rest = self.any
        if rest is not None and clause in rest:
            rest = None if applies else rest - {clause}
        if rest is not None and not rest:
            return None
        return _Open(self.rule, rest, self.all - {clause}, self.none - {clause})


_State = tuple[_Open, ...]
_Leaf = tuple[int, tuple[str, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class _Node:
    """A question; nodes that ask alike and lead alike are one object, so they compare by identity."""

    clause: str
    rule: int
    part: Part
    yes: _Node | _Leaf
    no: _Node | _Leaf


class _Compiler:
    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        order = (*policy.precedence, *(c.id for c in policy.permitting))
        self._rank = {clause: i for i, clause in enumerate(order)}
        self._known: dict[_State, _Node | _Leaf] = {}
        self._nodes: dict[tuple[str, int, Part, _Node | _Leaf, _Node | _Leaf], _Node] = {}

    def tree(self) -> DecisionTree:
        opened = [
            _Open(i, frozenset(r.when.any) or None, frozenset(r.when.all), frozenset(r.when.none))
            for i, r in enumerate(self._policy.routing)
        ]
        start = self._go_on(_until_decided(opened), None)
        nodes = list(_in_reading_order(start))
        numbers = {id(node): str(i) for i, node in enumerate(nodes, start=1)}
        endings = dict.fromkeys(t for n in nodes for t in (n.yes, n.no) if not isinstance(t, _Node))
        if not isinstance(start, _Node):
            endings = {start: None}
        letters = {leaf: _letters(i) for i, leaf in enumerate(endings)}

        def name(target: _Node | _Leaf) -> str:
            return numbers[id(target)] if isinstance(target, _Node) else letters[target]

        return DecisionTree(
            start=name(start),
            steps=tuple(self._step(i, n, name(n.yes), name(n.no)) for i, n in enumerate(nodes, start=1)),
            endings=tuple(self._ending(letters[leaf], leaf) for leaf in endings),
        )

    def _go_on(self, state: _State, answered_yes: str | None) -> _Node | _Leaf:
        if state[0].holds:
            return state[0].rule, self._cited(state[0].rule, answered_yes)
        if state not in self._known:
            self._known[state] = self._ask(state)
        return self._known[state]

    def _ask(self, state: _State) -> _Node | _Leaf:
        first = state[0]
        clause = self._next(first)
        yes = self._go_on(_after(state, clause, True), clause)
        no = self._go_on(_after(state, clause, False), None)
        if yes == no:
            return yes
        part: Part = "exception" if clause in first.none else "condition"
        node = self._nodes.setdefault((clause, first.rule, part, yes, no), _Node(clause, first.rule, part, yes, no))
        if len(self._nodes) > MAX_STEPS:
            raise PolicyError(
                f"the decision procedure of policy {self._policy.domain} needs more than {MAX_STEPS} steps",
                remedy="let more rules share their exceptions, or divide the policy",
            )
        return node

    def _next(self, rule: _Open) -> str:
        for waiting in (rule.all, rule.any or frozenset(), rule.none):
            if waiting:
                return min(waiting, key=lambda clause: self._rank[clause])
        raise AssertionError("a rule that waits for nothing holds")

    def _cited(self, rule: int, answered_yes: str | None) -> tuple[str, ...]:
        """What an ending may cite: the clause just answered *yes* where that made its rule hold."""
        decided = self._policy.routing[rule]
        if decided.then is Outcome.ALLOWED:
            return ()
        any_of = (answered_yes,) if answered_yes in decided.when.any else decided.when.any
        cited = {c for c in (*decided.when.all, *any_of) if c is not None and self._policy.by_id[c].is_violating}
        return tuple(sorted(cited, key=lambda clause: self._rank[clause]))

    def _step(self, number: int, node: _Node, yes: str, no: str) -> Step:
        clause: Clause = self._policy.by_id[node.clause]
        return Step(
            number=number,
            clause=clause.id,
            title=clause.title,
            question=clause.question,
            definition=clause.definition,
            includes=clause.includes,
            excludes=clause.excludes,
            rule=self._policy.routing[node.rule].id,
            part=node.part,
            yes=yes,
            no=no,
        )

    def _ending(self, name: str, leaf: _Leaf) -> Ending:
        rule, cited = self._policy.routing[leaf[0]], [self._policy.by_id[c] for c in leaf[1]]
        consequences = tuple(
            Consequence(clause=c.id, title=c.title, severity=c.severity, action=c.action) for c in cited
        )
        return Ending(id=name, rule=rule.id, outcome=rule.then, consequences=consequences)


def _until_decided(rules: list[_Open]) -> _State:
    """The rules up to the first that holds anyway: none after it can decide."""
    for i, rule in enumerate(rules):
        if rule.holds:
            return tuple(rules[: i + 1])
    raise AssertionError("the last rule of a policy always holds")


def _after(state: _State, clause: str, applies: bool) -> _State:
    return _until_decided([left for rule in state if (left := rule.after(clause, applies)) is not None])


def _in_reading_order(start: _Node | _Leaf) -> Iterator[_Node]:
    """Every node before those it leads to, what follows a *yes* before what follows a *no*."""
    done: list[_Node] = []
    seen: set[int] = set()

    def visit(node: _Node | _Leaf) -> None:
        if isinstance(node, _Node) and id(node) not in seen:
            seen.add(id(node))
            visit(node.no)
            visit(node.yes)
            done.append(node)

    visit(start)
    return reversed(done)


def _letters(number: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    name = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        name = ascii_uppercase[rest] + name
    return name
