"""Fits the weights of a checklist's clauses, or of a panel's words, on search cases, from scores that were paid for.

They are part of a candidate's procedure, as its prompt is, so that they may rest on the search split and on no other.
A candidate is compared with others by scores that its weights were not fitted on, or it would win by its many numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from promptopt.core.case import GoldenCase, Split
from promptopt.core.digest import digest_text
from promptopt.metrics.arrays import BoolArray, FloatArray
from promptopt.metrics.calibration import MIN_PER_CLASS
from promptopt.metrics.weights import DEFAULT_PENALTY, fit_weights
from promptopt.metrics.youden import best_youden
from promptopt.policy.jury import JuryProcedure
from promptopt.policy.model import Clause
from promptopt.policy.procedure import DIRECT_QUESTION, Procedure
from promptopt.policy.verbalizer import Verbalizer, word_features
from promptopt.policy.weighing import ClauseWeights, clause_features

FOLDS: Final = 5
PANEL_PENALTY: Final = 5.0  # fifty words on a hundred cases; docs/design/verbalizer.md has the others that were tried
PRIOR_PENALTY: Final = 10.0  # weights that are drawn to those of other domains, likewise
_LEAST, _MOST = 0.001, 0.999
_TELLING = 0.2  # Youden's J below which a judge cannot tell where a clause applies, and a half is as good as any


def weigh(
    procedure: Procedure,
    answers: Mapping[str, FloatArray],
    cases: Sequence[GoldenCase],
    penalty: float | None = None,
) -> Procedure:
    """The procedure with the weights and thresholds that suit some search cases.

    Args:
        procedure: A weighted checklist, or a verbalized question.
        answers: Question name to probabilities of *yes*, (cases,), or of the panel's words, (cases, words); NaN where
            unjudged.
        cases: The cases; search cases only.
        penalty: As in :func:`promptopt.metrics.weights.fit_weights`; by default that of the shape.

    Returns:
        The procedure with its weights; as it was where it has no weights to fit, or where fewer than 5 violations or
        allowed cases are judged in full.
    """
    if not is_unfitted(procedure):
        return procedure
    labels = np.array([case.is_violation for case in cases], dtype=np.bool_)
    features = _features(procedure, answers)
    judged = ~np.isnan(features).any(axis=1)
    if min(int((labels & judged).sum()), int((~labels & judged).sum())) < MIN_PER_CLASS:
        return procedure
    signed = procedure.shape == "verbalized"
    prior = procedure.word_prior
    default = (PANEL_PENALTY if prior is None else PRIOR_PENALTY) if signed else DEFAULT_PENALTY
    penalty = default if penalty is None else penalty
    fitted = fit_weights(features, labels, penalty=penalty, signed=signed, centre=prior)
    coefficients = [float(weight) for weight in fitted.coefficients]
    if signed:
        verbalizer = Verbalizer(intercept=fitted.intercept, weights=tuple(coefficients))
        return Procedure.model_validate({**dict(procedure), "verbalizer": verbalizer, "word_prior": None})
    weights = ClauseWeights(
        intercept=fitted.intercept,
        weights={clause.id: weight for clause, weight in zip(procedure.clauses, coefficients, strict=True)},
        thresholds=_thresholds(procedure, answers, cases),
    )
    return Procedure.model_validate({**dict(procedure), "weights": weights})


def is_unfitted(procedure: Procedure | JuryProcedure) -> bool:
    """Whether a procedure has weights to be fitted."""
    return isinstance(procedure, Procedure) and procedure.is_unfitted


def scores_to_compare(
    procedure: Procedure | JuryProcedure, answers: Mapping[str, FloatArray], cases: Sequence[GoldenCase]
) -> FloatArray:
    """Scores of search cases on which a candidate may be compared with others.

    Args:
        procedure: The candidate's procedure.
        answers: As in :func:`weigh`.
        cases: The cases.

    Returns:
        :meth:`Procedure.score`, where a weighted checklist that is not fitted yet is fitted for each fifth of the
        groups on the other four, if all are search cases; float64 of shape (cases,), NaN where unjudged.
    """
    if not isinstance(procedure, Procedure) or not is_unfitted(procedure):
        return procedure.score(answers)
    if any(case.split is not Split.SEARCH for case in cases):
        return procedure.score(answers)  # what could not be fitted must not learn from other splits
    scores = np.full(len(cases), np.nan)
    folds = np.array([int(digest_text(case.group)[:8], 16) % FOLDS for case in cases], dtype=np.int64)
    for fold in range(FOLDS):
        held = folds == fold
        rest = [case for case, out in zip(cases, held, strict=True) if not out]
        fitted = weigh(procedure, {name: column[~held] for name, column in answers.items()}, rest)
        if held.any():
            scores[held] = fitted.score({name: column[held] for name, column in answers.items()})
    return scores


def _thresholds(
    procedure: Procedure, answers: Mapping[str, FloatArray], cases: Sequence[GoldenCase]
) -> dict[str, float]:
    """For each clause that enough cases cite, where the judge best tells those from cases without it."""
    found = {}
    for clause in procedure.clauses:
        cited = np.array([case.clause == clause.id for case in cases], dtype=np.bool_)
        absent = _without(clause, procedure, cases)
        known = (cited | absent) & ~np.isnan(answers[clause.id])
        if min(int((cited & known).sum()), int((absent & known).sum())) < MIN_PER_CLASS:
            continue
        threshold, youden = best_youden(cited[known], answers[clause.id][known])
        if youden >= _TELLING:
            found[clause.id] = float(np.clip(threshold, _LEAST, _MOST))
    return found


def _without(clause: Clause, procedure: Procedure, cases: Sequence[GoldenCase]) -> BoolArray:
    """Cases to which a clause cannot apply.

    A case cites one clause, and others may apply to it. A violating clause does not apply to what is allowed, unless an
    exception lifts it there; a permitting clause does not apply to violations of what it would lift.
    """
    if clause.is_violating:
        return np.array([not c.is_violation and c.clause not in clause.exceptions for c in cases], dtype=np.bool_)
    lifts = {c.id for c in procedure.clauses if clause.id in c.exceptions}
    return np.array([c.is_violation and (c.clause in lifts or not lifts) for c in cases], dtype=np.bool_)


def _features(procedure: Procedure, answers: Mapping[str, FloatArray]) -> FloatArray:
    """What weights are fitted on, (cases, features)."""
    if procedure.shape == "verbalized":
        return word_features(np.asarray(answers[DIRECT_QUESTION], dtype=np.float64))
    table = np.stack([np.asarray(answers[c.id], dtype=np.float64) for c in procedure.clauses], axis=1)
    return clause_features(procedure.clauses, table)
