"""The decision procedure: from measured answers to a probability of violation, and from there to a verdict.

A procedure is plain data and pure functions. Programs use it while they search, bundles carry it into production, and
both therefore decide alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from itertools import product
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from promptopt.core.case import Label
from promptopt.core.model import FrozenModel
from promptopt.core.verdict import Verdict
from promptopt.policy.model import Action, Clause, Outcome, Policy, Rule

FloatArray = npt.NDArray[np.float64]
DIRECT_QUESTION = "violation"
MAX_CHECKLIST_CLAUSES = 14
_APPLIES = 0.5

Shape = Literal["direct", "checklist"]
Aggregate = Literal["routing", "strongest"]


class Procedure(FrozenModel):
    """How the answers to a program's questions become one verdict.

    Attributes:
        shape: ``direct`` asks one question; ``checklist`` asks one per clause.
        clauses: The policy's clauses, for citing and routing.
        precedence: Violating clauses, the one to cite first.
        routing: The policy's rules, first match wins.
        aggregate: How a checklist's answers become one probability: ``routing`` is the exact probability that the
            rules conclude a violation if each clause applied independently with its measured probability;
            ``strongest`` is the largest p(clause) * (1 - p(strongest exception that lifts it)).
    """

    shape: Shape
    clauses: tuple[Clause, ...]
    precedence: tuple[str, ...]
    routing: tuple[Rule, ...] = Field(min_length=1)
    aggregate: Aggregate = "routing"

    @classmethod
    def of(cls, policy: Policy, shape: Shape, aggregate: Aggregate = "routing") -> Procedure:
        """The procedure that a policy and a program shape define."""
        return cls(
            shape=shape,
            clauses=policy.clauses,
            precedence=policy.precedence,
            routing=policy.routing,
            aggregate=aggregate,
        )

    @model_validator(mode="after")
    def _enumerable(self) -> Self:
        if self.shape == "checklist" and len(self.clauses) > MAX_CHECKLIST_CLAUSES:
            raise ValueError(f"a checklist takes at most {MAX_CHECKLIST_CLAUSES} clauses, not {len(self.clauses)}")
        return self

    @property
    def questions(self) -> tuple[str, ...]:
        """Names of the questions whose answers :meth:`score` needs, in order."""
        return (DIRECT_QUESTION,) if self.shape == "direct" else tuple(c.id for c in self.clauses)

    def score(self, answers: Mapping[str, FloatArray]) -> FloatArray:
        """Probability of a violation.

        Args:
            answers: Question name to the probabilities of *yes*, float64 of shape (cases,); NaN where unjudged.

        Returns:
            float64 of shape (cases,), in [0, 1]; NaN for a case with any unjudged answer.
        """
        table = np.stack([np.asarray(answers[q], dtype=np.float64) for q in self.questions], axis=1)
        if self.shape == "direct":
            return np.asarray(table[:, 0])
        if self.aggregate == "strongest":
            return np.asarray(self._contributions(table).max(axis=1))
        return self._routed(table)

    def verdict(self, answers: Mapping[str, float], score: float, threshold: float) -> Verdict:
        """The verdict on one case.

        Args:
            answers: Question name to the probability of *yes*.
            score: The case's probability of violation, on the scale of the threshold.
            threshold: Scores at or above it are violations.

        Returns:
            A verdict that cites a clause (checklist only) and the rule that fired.
        """
        if np.isnan(score):
            return Verdict.unjudged("a question of the procedure was not answered")
        label = Label.VIOLATION if score >= threshold else Label.ALLOWED
        if self.shape == "direct":
            return Verdict(label=label, probability=score)
        clause = self._cited(answers, label)
        rule = self._rule(answers, label, clause)
        escalate = rule.then is Outcome.ESCALATE or (clause is not None and clause.action is Action.ESCALATE)
        return Verdict(
            label=label,
            probability=score,
            clause=None if clause is None else clause.id,
            severity=0 if clause is None else clause.severity,
            rule=rule.id,
            escalate=escalate and label is Label.VIOLATION,
        )

    @cached_property
    def _violating_assignments(self) -> npt.NDArray[np.bool_]:
        """Combinations of clause answers that the routing calls a violation; bool of shape (combinations, clauses)."""
        ids = [c.id for c in self.clauses]
        rows = [
            row
            for row in product((False, True), repeat=len(ids))
            if self._route(dict(zip(ids, row, strict=True))).then is not Outcome.ALLOWED
        ]
        return np.array(rows, dtype=np.bool_).reshape(len(rows), len(ids))

    def _route(self, applies: Mapping[str, bool]) -> Rule:
        for rule in self.routing:
            when = rule.when
            if (
                (not when.any or any(applies[c] for c in when.any))
                and all(applies[c] for c in when.all)
                and not any(applies[c] for c in when.none)
            ):
                return rule
        return self.routing[-1]

    def _routed(self, table: FloatArray) -> FloatArray:
        yes = self._violating_assignments.astype(np.float64)
        clipped = np.clip(table, 1e-12, 1 - 1e-12)
        joint = np.log(clipped) @ yes.T + np.log1p(-clipped) @ (1 - yes).T
        return np.asarray(np.minimum(np.exp(joint).sum(axis=1), 1.0))

    def _contributions(self, table: FloatArray) -> FloatArray:
        """p(clause) * (1 - p(strongest exception)) for each violating clause; float64 of shape (cases, violating)."""
        column = {c.id: i for i, c in enumerate(self.clauses)}
        parts = []
        for clause in self.clauses:
            if not clause.is_violating:
                continue
            lifted = [1 - table[:, column[e]] for e in clause.exceptions]
            parts.append(table[:, column[clause.id]] * np.min([np.ones(len(table)), *lifted], axis=0))
        return np.stack(parts, axis=1)

    def _cited(self, answers: Mapping[str, float], label: Label) -> Clause | None:
        by_id = {c.id: c for c in self.clauses}
        if label is Label.ALLOWED:
            permitting = [c for c in self.clauses if not c.is_violating and answers[c.id] >= _APPLIES]
            return max(permitting, key=lambda c: answers[c.id], default=None)
        row = np.array([[answers[c.id] for c in self.clauses]])
        violating = [c.id for c in self.clauses if c.is_violating]
        strength = dict(zip(violating, self._contributions(row)[0], strict=True))
        applying = [c for c in self.precedence if strength[c] >= _APPLIES]
        return by_id[applying[0] if applying else max(self.precedence, key=lambda c: strength[c])]

    def _rule(self, answers: Mapping[str, float], label: Label, clause: Clause | None) -> Rule:
        if label is Label.VIOLATION and clause is not None:
            citing = [r for r in self.routing if r.then is not Outcome.ALLOWED and clause.id in r.when.any + r.when.all]
            if citing:
                return citing[0]
        fired = self._route({c.id: answers[c.id] >= _APPLIES for c in self.clauses})
        if (fired.then is Outcome.ALLOWED) == (label is Label.ALLOWED):
            return fired
        return self.routing[-1]
