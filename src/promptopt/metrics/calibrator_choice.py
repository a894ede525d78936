"""Which calibrator: the one whose probabilities fit cases that it was not fitted on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from promptopt.core.digest import digest_text
from promptopt.metrics.arrays import BoolArray, FloatArray, IntArray, judged_rows
from promptopt.metrics.calibration import fit_platt
from promptopt.metrics.isotonic import Calibrator, fit_isotonic

FOLDS = 5
_GROUPS_PER_FOLD = 2  # with fewer groups of a label the comparison is noise
_CLIP = 1e-6


def log_loss(labels: BoolArray, probabilities: FloatArray) -> float:
    """Mean negative log-likelihood of the labels, in nats.

    Args:
        labels: True for a violation; shape (n,).
        probabilities: Shape (n,), in [0, 1], NaN where unjudged; unjudged rows are left out. They are kept a
            millionth away from 0 and 1, so that one certain mistake does not decide alone.

    Returns:
        A number of at least 0, or NaN without judged rows.

    Raises:
        ValueError: Shapes differ or a probability is infinite.
    """
    y, p = judged_rows(labels, probabilities)
    if not len(y):
        return float("nan")
    p = np.clip(p, _CLIP, 1 - _CLIP)
    return float(-np.mean(np.where(y, np.log(p), np.log1p(-p))))


def choose_by_log_loss(labels: BoolArray, scores: FloatArray, groups: Sequence[str]) -> Calibrator | None:
    """Platt scaling, isotonic regression or the scores as they are, by cross-validated log loss.

    Args:
        labels: True for a violation; shape (n,).
        scores: Shape (n,), in [0, 1], NaN where unjudged; unjudged rows are left out.
        groups: Group of each row; length n. A group stays in one fold, so that relatives do not vouch for each other.

    Returns:
        The choice, fitted on all rows; None leaves the scores as they are. Platt's in a tie, and where either label
        has fewer than ten groups.

    Raises:
        ValueError: Lengths differ or a score is infinite.
    """
    judged_rows(labels, scores)
    if len(groups) != len(labels):
        raise ValueError(f"groups must have length {len(labels)}, not {len(groups)}")
    kept = ~np.isnan(scores)
    y, s = labels[kept], scores[kept]
    names = [name for name, keep in zip(groups, kept, strict=True) if keep]
    violating = {name for name, positive in zip(names, y, strict=True) if positive}
    allowing = {name for name, positive in zip(names, y, strict=True) if not positive}
    if min(len(violating), len(allowing)) < FOLDS * _GROUPS_PER_FOLD:
        return fit_platt(y, s)
    fold = _folds(names, violating)
    platt, isotonic = np.empty(len(s)), np.empty(len(s))
    for held in (fold == number for number in range(FOLDS)):
        platt[held] = fit_platt(y[~held], s[~held]).apply(s[held])
        isotonic[held] = fit_isotonic(y[~held], s[~held]).apply(s[held])
    losses = [log_loss(y, probabilities) for probabilities in (platt, isotonic, s)]
    return (fit_platt(y, s), fit_isotonic(y, s), None)[int(np.argmin(losses))]


def _folds(names: Sequence[str], violating: set[str]) -> IntArray:
    """The fold of each row: groups dealt out in an order without meaning, those with a violation first."""
    ordered = sorted(set(names), key=lambda name: (name not in violating, digest_text(name)))
    place = {name: number % FOLDS for number, name in enumerate(ordered)}
    return np.array([place[name] for name in names], dtype=np.int64)
