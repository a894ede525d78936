"""The decision procedure: from measured answers to a probability of violation, and from there to a verdict.

A procedure is plain data and pure functions. Programs use it while they search, bundles carry it into production, and
both therefore decide alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, FiniteFloat, model_validator

from promptopt.core.case import Label
from promptopt.core.model import FrozenModel, added
from promptopt.core.verdict import Verdict
from promptopt.errors import PolicyError
from promptopt.policy.grading import (
    MAX_SEVERITY,
    SEVERITY_QUESTION,
    distribution,
    expected_severity,
    likely_severity,
    rungs,
    violation_probability,
)
from promptopt.policy.model import Action, Clause, Outcome, Policy, Rule
from promptopt.policy.routing import every_assignment, first_match
from promptopt.policy.verbalizer import Verbalizer, own_answer
from promptopt.policy.weighing import ClauseWeights

FloatArray = npt.NDArray[np.float64]
DIRECT_QUESTION = "violation"
MAX_CHECKLIST_CLAUSES = 14
_APPLIES = 0.5
_ABSTAINED = 0.5
_ROWS_AT_A_TIME = 256

Shape = Literal["direct", "verbalized", "checklist", "graded", "reasoned"]
Aggregate = Literal["routing", "strongest", "noisy_or", "weighted"]
GradeScore = Literal["violation", "expected_severity"]
Answer = float | tuple[float, ...]
"""Probability of the affirmative (first) of two labels, or the probabilities of all where there are more."""


class Procedure(FrozenModel):
    """How the answers to a program's questions become one verdict.

    Attributes:
        shape: ``direct`` asks one question; ``verbalized`` asks the same and reads the answer off a panel of words;
            ``checklist`` asks one question per clause; ``graded`` asks how severe a violation is, with the rungs of the
            severity ladder as answers; ``reasoned`` asks what ``direct`` asks, after the judge has written its reasons.
        clauses: The policy's clauses, for citing and routing.
        precedence: Violating clauses, the one to cite first.
        routing: The policy's rules, first match wins.
        aggregate: How a checklist's answers become one probability: ``routing`` is the exact probability that the
            rules conclude a violation if each clause applied independently with its measured probability, where a
            combination that the rules leave to people counts half, for it says nothing either way;
            ``strongest`` is the largest p(clause) * (1 - p(strongest exception that lifts it)); ``noisy_or`` is one
            minus the product of one minus each of these, so that several weak clauses add up; ``weighted`` weighs the
            clauses' log-odds, see :class:`promptopt.policy.weighing.ClauseWeights`.
        grade_score: What a graded answer is worth: ``violation`` is the probability of a severity of 1 or more;
            ``expected_severity`` is the mean severity as a share of the highest, which puts the severe before the
            likely.
        weights: Of a weighted checklist, which is scored as by ``noisy_or`` until it has some.
        verbalizer: Of a verbalized question, which is scored as a direct one until it has one.
        word_prior: What the weights of a verbalizer that is still to be fitted are drawn to, word by word.
    """

    shape: Shape
    clauses: tuple[Clause, ...]
    precedence: tuple[str, ...]
    routing: tuple[Rule, ...] = Field(min_length=1)
    aggregate: Aggregate = "routing"
    grade_score: GradeScore = added("violation")
    weights: ClauseWeights | None = added(None)
    verbalizer: Verbalizer | None = added(None)
    word_prior: tuple[FiniteFloat, ...] | None = added(None)

    @classmethod
    def of(
        cls,
        policy: Policy,
        shape: Shape,
        aggregate: Aggregate = "routing",
        grade_score: GradeScore = "violation",
    ) -> Procedure:
        """The procedure that a policy and a program shape define.

        Raises:
            PolicyError: The policy has more clauses than a checklist takes.
        """
        if shape == "checklist" and len(policy.clauses) > MAX_CHECKLIST_CLAUSES:
            raise PolicyError(
                f"policy {policy.domain} has {len(policy.clauses)} clauses, and a checklist takes at most "
                f"{MAX_CHECKLIST_CLAUSES}",
                remedy="search the direct shape only, or divide the policy",
            )
        return cls(
            shape=shape,
            clauses=policy.clauses,
            precedence=policy.precedence,
            routing=policy.routing,
            aggregate=aggregate,
            grade_score=grade_score,
        )

    @model_validator(mode="after")
    def _enumerable(self) -> Self:
        if self.shape == "checklist" and len(self.clauses) > MAX_CHECKLIST_CLAUSES:
            raise ValueError(f"a checklist takes at most {MAX_CHECKLIST_CLAUSES} clauses, not {len(self.clauses)}")
        return self

    @model_validator(mode="after")
    def _reads_its_words(self) -> Self:
        if self.verbalizer is not None and self.shape != "verbalized":
            raise ValueError(f"only the verbalized shape has a verbalizer, not the {self.shape} one")
        if self.word_prior is not None and not (self.shape == "verbalized" and self.verbalizer is None):
            raise ValueError("a prior of words is for the verbalized shape, as long as it has no verbalizer")
        return self

    @model_validator(mode="after")
    def _weighs_its_clauses(self) -> Self:
        if self.weights is None:
            return self
        if self.shape != "checklist" or self.aggregate != "weighted":
            raise ValueError("only a checklist whose aggregate is `weighted` has weights")
        if set(self.weights.weights) != {c.id for c in self.clauses}:
            raise ValueError(f"weights are those of {sorted(self.weights.weights)}, not of the procedure's clauses")
        return self

    @property
    def questions(self) -> tuple[str, ...]:
        """Names of the questions whose answers :meth:`score` needs, in order."""
        if self.shape == "checklist":
            return tuple(c.id for c in self.clauses)
        return (SEVERITY_QUESTION,) if self.shape == "graded" else (DIRECT_QUESTION,)

    @property
    def single(self) -> tuple[Procedure, ...]:
        """The procedure by itself; a jury gives those of its members."""
        return (self,)

    @property
    def is_unfitted(self) -> bool:
        """Whether weights are still to be fitted: of a checklist's clauses, or of a panel's words."""
        if self.shape == "verbalized":
            return self.verbalizer is None
        return self.shape == "checklist" and self.aggregate == "weighted" and self.weights is None

    @property
    def severities(self) -> tuple[int, ...]:
        """The rungs of the severity ladder, rising from 0."""
        return rungs(self.clauses)

    def score(self, answers: Mapping[str, FloatArray]) -> FloatArray:
        """Probability of a violation.

        Args:
            answers: Question name to the probabilities of *yes*, float64 of shape (cases,), or of the severities,
                (cases, rungs), the severest first, or of a panel's words, (cases, words); NaN where unjudged.

        Returns:
            float64 of shape (cases,), in [0, 1]; NaN for a case with any unjudged answer.
        """
        if self.shape == "graded":
            grades = distribution(answers[SEVERITY_QUESTION])
            if self.grade_score == "violation":
                return violation_probability(grades)
            return expected_severity(grades, self.severities) / MAX_SEVERITY
        if self.shape == "verbalized":
            words = np.asarray(answers[DIRECT_QUESTION], dtype=np.float64)
            return own_answer(words) if self.verbalizer is None else self.verbalizer.score(words)
        table = np.stack([np.asarray(answers[q], dtype=np.float64) for q in self.questions], axis=1)
        if self.shape != "checklist":
            return np.asarray(table[:, 0])
        if self.weights is not None:
            return self.weights.score(self.clauses, table)
        scores = self._routed(table) if self.aggregate == "routing" else self._joined(self._contributions(table))
        return np.where(np.isnan(table).any(axis=1), np.nan, scores)

    def verdict(self, answers: Mapping[str, Answer], score: float, threshold: float) -> Verdict:
        """The verdict on one case.

        Args:
            answers: Question name to the probability of *yes*, or to those of the severities, the severest first; that
                of a question about the whole policy is not needed.
            score: The case's probability of violation, on the scale of the threshold.
            threshold: Scores at or above it are violations.

        Returns:
            A verdict. A checklist's cites the first clause by precedence that applies and no exception lifts, or the
            nearest to that where the threshold is below a half, and the rule that goes with it; a direct question
            cites nothing, so the severity of a violation is unknown; a graded one cites nothing either and names the
            median severity given a violation. Where the answers, each taken for the likelier
            of yes and no, lead to a rule that abstains, the verdict names that rule and goes to people; its label and
            clause are then a guess.
        """
        if np.isnan(score):
            return Verdict.unjudged("a question of the procedure was not answered")
        violates = score >= threshold
        label = Label.VIOLATION if violates else Label.ALLOWED
        if self.shape == "graded":
            (grades,) = distribution(np.array([answers[SEVERITY_QUESTION]])).tolist()
            severity = likely_severity(grades, self.severities) if violates else 0
            return Verdict(label=label, probability=score, severity=severity)
        if self.shape != "checklist":
            return Verdict(label=label, probability=score, severity=None if violates else 0)
        affirmed = _affirmed(answers)
        return self._clause_verdict(affirmed if self.weights is None else self.weights.evened(affirmed), label, score)

    def _clause_verdict(self, answers: Mapping[str, float], label: Label, score: float) -> Verdict:
        """A checklist's verdict: its label with the clause and the rule that go with it."""
        violates = label is Label.VIOLATION
        clause = self._cited(answers, label)
        rule = self._rule(answers, clause)
        abstaining = self._abstaining(answers)
        if abstaining is not None:
            clause, rule = self._doubted(answers, abstaining, label) or clause, abstaining
        to_people = (rule is not None and rule.then is Outcome.ESCALATE) or (
            clause is not None and clause.action is Action.ESCALATE
        )
        return Verdict(
            label=label,
            probability=score,
            clause=None if clause is None else clause.id,
            severity=0 if clause is None else clause.severity,
            rule=None if rule is None else rule.id,
            escalate=abstaining is not None or (violates and to_people),
        )

    @cached_property
    def _violates(self) -> FloatArray:
        """How far the routing calls a combination of clause answers a violation: 0, 1, or a half where it abstains.

        The shape is (2 ** clauses,).
        """
        ids = [c.id for c in self.clauses]
        deciding = first_match(self.routing, ids, every_assignment(len(ids)))
        worth = [_ABSTAINED if rule.then is Outcome.ABSTAIN else float(rule.then.violates) for rule in self.routing]
        return np.array(worth)[deciding]

    def _routed(self, table: FloatArray) -> FloatArray:
        """The multilinear extension of the routing at each row: one clause after another is averaged out."""
        blocks = [self._averaged(table[i : i + _ROWS_AT_A_TIME]) for i in range(0, len(table), _ROWS_AT_A_TIME)]
        return np.concatenate([np.empty(0), *blocks])

    def _averaged(self, table: FloatArray) -> FloatArray:
        values = self._violates[np.newaxis, :]
        for column in table.T:
            without, applying = np.split(values, 2, axis=1)
            values = without + column[:, np.newaxis] * (applying - without)
        return np.asarray(np.clip(values[:, 0], 0.0, 1.0))

    def _joined(self, contributions: FloatArray) -> FloatArray:
        if self.aggregate == "strongest":
            return np.asarray(contributions.max(axis=1))
        none_applies = np.ones(len(contributions))
        for column in contributions.T:  # one at a time: a reduction may multiply in another order for another batch
            none_applies = none_applies * (1 - column)
        return 1 - none_applies

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

    def _rule(self, answers: Mapping[str, float], clause: Clause | None) -> Rule | None:
        """The rule that leads to the label, None where the threshold overrides every rule.

        For a violation ``clause`` is the clause cited, which then counts as applying and its exceptions as not: answers
        near a half may say otherwise, and the verdict must name a rule that goes with its clause.
        """
        applies = {c.id: answers[c.id] >= _APPLIES for c in self.clauses}
        if clause is None or not clause.is_violating:
            fired = self._route(applies)
            if fired.then is not Outcome.ALLOWED:
                fired = self._route(applies | dict.fromkeys(self.precedence, False))
            return fired if fired.then is Outcome.ALLOWED else None
        fired = self._route(applies | {clause.id: True} | dict.fromkeys(clause.exceptions, False))
        citing = [r for r in self.routing if clause.id in r.when.any + r.when.all and r.then.violates]
        if fired in citing or not citing:
            return fired if fired.then.violates else None
        return citing[0]

    def _abstaining(self, answers: Mapping[str, float]) -> Rule | None:
        """The rule that leaves the case to people; None where another rule decides."""
        if all(rule.then is not Outcome.ABSTAIN for rule in self.routing):
            return None
        answered = self._route({c.id: answers[c.id] >= _APPLIES for c in self.clauses})
        return answered if answered.then is Outcome.ABSTAIN else None

    def _doubted(self, answers: Mapping[str, float], rule: Rule, label: Label) -> Clause | None:
        """The first clause by precedence of those that made an abstaining rule hold; None for a guess of allowed."""
        if label is Label.ALLOWED:
            return None
        named = [c for c in self.precedence if c in rule.when.any + rule.when.all and answers[c] >= _APPLIES]
        return next((c for c in self.clauses if c.id in named[:1]), None)

    def _route(self, applies: Mapping[str, bool]) -> Rule:
        ids = [c.id for c in self.clauses]
        return self.routing[int(first_match(self.routing, ids, np.array([[applies[i] for i in ids]]))[0])]


def _affirmed(answers: Mapping[str, Answer]) -> dict[str, float]:
    """Question name to the probability of its affirmative label."""
    return {name: answer[0] if isinstance(answer, tuple) else answer for name, answer in answers.items()}
