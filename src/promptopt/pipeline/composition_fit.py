"""Fits the bands of cascades and the weights of juries from stored scores on a calibration split.

What a certificate rests on must have been used for nothing else. Bands of a cascade whose stages are bundles rest on
the whole split: certificates go by ranks, which the bundles' own calibrators, fitted on the same split, do not change.
Where a stage is a jury, its weights are fitted on one half of the groups and all bands on the other half; the fitted
weights are the same whatever rising maps the members carry (see :mod:`promptopt.metrics.weights`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from promptopt.bundle.composition.jury import joint_probabilities
from promptopt.bundle.composition.model import Cascade, CompositionFit, Jury
from promptopt.bundle.composition.tree import Branch, Leaf, Node
from promptopt.core.case import GoldenCase
from promptopt.core.digest import digest_text
from promptopt.errors import ConfigError
from promptopt.golden.golden_set import GoldenSet
from promptopt.metrics.arrays import BoolArray, FloatArray
from promptopt.metrics.calibration import PlattCalibrator
from promptopt.metrics.cascade import CascadeStage
from promptopt.metrics.log_odds import log_odds
from promptopt.metrics.operating_point import choose_threshold
from promptopt.metrics.stage_bands import BandTerms, FittedBands, fit_bands
from promptopt.metrics.weights import DEFAULT_PENALTY, fit_weights
from promptopt.search.operating import one_of_each_group

_JURY_PRECISION = 0.8
_REMEDY = "label more calibration cases, lower the floor, or raise delta"


@dataclass(frozen=True, slots=True)
class FitTerms:
    """What is asked for.

    Attributes:
        recall_floor: Share of violations that a cascade must not allow unseen, in (0, 1).
        delta: Probability that a certificate does not hold, in (0, 1).
        precision_floor: Share of violations among what a cascade flags unseen, or that a jury's threshold must keep;
            None leaves every violation of a cascade to people, and is 0.8 for a jury.
        human_cost: Of one case that people judge, in the unit of the stages' costs.
        penalty: Of the weights of juries.
        seed: Halves the cases and orders tied scores.
    """

    recall_floor: float = 0.9
    delta: float = 0.05
    precision_floor: float | None = None
    human_cost: float = 100.0
    penalty: float = DEFAULT_PENALTY
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """Calibration cases with what the bundles say of them.

    Attributes:
        golden: The golden set.
        cases: The cases.
        probabilities: Digest of each bundle to calibrated probabilities; (cases,), NaN where unjudged.
    """

    golden: GoldenSet
    cases: Sequence[GoldenCase]
    probabilities: Mapping[str, FloatArray]

    @property
    def labels(self) -> BoolArray:
        """True for violations; shape (cases,)."""
        return np.array([case.is_violation for case in self.cases], dtype=np.bool_)

    def record(self, rows: BoolArray, **facts: object) -> CompositionFit:
        """What was fitted on some of the cases."""
        own = {"golden": self.golden.name, "golden_digest": self.golden.digest}
        counts = {"cases": int(rows.sum()), "positives": int((rows & self.labels).sum())}
        return CompositionFit.model_validate({**own, **counts, **facts})


def fit_composition(branch: Branch, scored: Scored, terms: FitTerms) -> Branch:
    """Fits the weights of all juries of a composition, and the bands of a cascade.

    Args:
        branch: A jury of bundles, or a cascade of bundles and of juries of bundles, checked by
            :func:`promptopt.pipeline.composition_checks.check_fit`.
        scored: The calibration split with the bundles' probabilities.
        terms: What is asked for.

    Returns:
        The composition with its bands, weights, thresholds and what is certain about them. Stages that settle too
        little for their cost are left out.

    Raises:
        ConfigError: Nothing can be certified, or weights cannot be fitted; says how many more cases it would take.
    """
    everything = np.ones(len(scored.cases), dtype=np.bool_)
    if isinstance(branch.spec, Jury):
        return _fit_jury(branch, branch.spec, scored, everything, terms)
    juries = any(isinstance(node, Branch) and _refits(node) for node in branch.parts)
    weighing = _half_of_groups(scored.cases, terms.seed) if juries else ~everything
    parts = tuple(
        _fit_jury(node, node.spec, scored, weighing, terms)
        if isinstance(node, Branch) and isinstance(node.spec, Jury) and _refits(node)
        else node
        for node in branch.parts
    )
    return _fit_cascade(replace(branch, parts=parts), branch.spec, scored, ~weighing, terms)


def _refits(node: Branch) -> bool:
    return isinstance(node.spec, Jury) and node.spec.aggregate == "mean_logit"


def _half_of_groups(cases: Sequence[GoldenCase], seed: int) -> BoolArray:
    """True for about half of the groups, settled without a look at any label."""
    return np.array([int(digest_text(f"{seed} {case.group}")[:8], 16) % 2 == 0 for case in cases], dtype=np.bool_)


def _fit_jury(branch: Branch, spec: Jury, scored: Scored, rows: BoolArray, terms: FitTerms) -> Branch:
    """The jury with its weights, where it takes the mean of log-odds, and its threshold."""
    table = _table(branch, scored)
    labels = scored.labels[rows]
    if _refits(branch):
        fitted = fit_weights(log_odds(table[rows]), labels, penalty=terms.penalty)
        whole = float(fitted.coefficients.sum())
        if not whole:
            raise ConfigError(
                "no member scores violations above allowed cases", where=branch.name, remedy="choose other members"
            )
        weights = [float(coefficient) for coefficient in fitted.coefficients]
        members = [m.model_copy(update={"weight": w}) for m, w in zip(spec.members, weights, strict=True)]
        calibration = PlattCalibrator(slope=whole, intercept=fitted.intercept)
        spec = spec.model_copy(update={"members": tuple(members), "calibration": calibration})
    floor = _JURY_PRECISION if terms.precision_floor is None else terms.precision_floor
    point = choose_threshold(labels, joint_probabilities(spec, table[rows]), "recall_at_precision", floor)
    record = scored.record(rows, precision_floor=floor, note=point.note)
    return replace(branch, spec=spec.model_copy(update={"threshold": point.threshold, "fitted": record}))


def _fit_cascade(branch: Branch, spec: Cascade, scored: Scored, rows: BoolArray, terms: FitTerms) -> Branch:
    rows = rows & _one_of_each_group(scored.cases, rows)
    labels = scored.labels[rows]
    costs = [
        _default_cost(node) if stage.cost is None else stage.cost
        for stage, node in zip(spec.stages, branch.parts, strict=True)
    ]
    stages = [
        CascadeStage(_probabilities(node, scored)[rows], cost) for node, cost in zip(branch.parts, costs, strict=True)
    ]
    asked = BandTerms(terms.recall_floor, terms.delta, terms.human_cost, terms.precision_floor, terms.seed)
    fitted = fit_bands(stages, labels, asked)
    kept = [number for number, band in enumerate(fitted.bands) if band is not None]
    if not kept:
        raise ConfigError(
            f"people would judge every case: {fitted.plan.note or 'no stage saves what it costs'}",
            where=branch.name,
            remedy=_REMEDY if fitted.plan.note else "raise --human-cost, or the costs are not in one unit",
        )
    record = scored.record(
        rows,
        recall_floor=terms.recall_floor,
        precision_floor=terms.precision_floor,
        delta=terms.delta,
        recall=tuple(_restated(fitted, number) for number in kept),
        precision=fitted.plan.precision,
        cost_per_case=fitted.plan.expected_cost,
        to_people=fitted.plan.to_people,
        note="; ".join([*_left_out(branch, kept), *([fitted.plan.note] if fitted.plan.note else [])]),
    )
    new = [spec.stages[n].model_copy(update={"band": fitted.bands[n], "cost": costs[n]}) for n in kept]
    changed = spec.model_copy(update={"stages": tuple(new), "fitted": record})
    return replace(branch, spec=changed, parts=tuple(branch.parts[n] for n in kept)).moved(branch.place)


def _restated(fitted: FittedBands, number: int) -> object:
    """A stage's certificate with its threshold on the stage's own scale, on which the band is."""
    certificate, band = fitted.plan.stages[number].recall, fitted.bands[number]
    if certificate is None or certificate.threshold is None or band is None:
        return certificate
    return certificate.model_copy(update={"threshold": band[0]})


def _left_out(branch: Branch, kept: Sequence[int]) -> list[str]:
    return [
        f"stage {number + 1} ({node.name}) is left out, because it settles too little for its cost"
        for number, node in enumerate(branch.parts)
        if number not in kept
    ]


def _default_cost(node: Node) -> float:
    """One for each question that is asked about a case."""
    return float(sum(len(leaf.bundle.prompts) for leaf in node.leaves()))


def _probabilities(node: Node, scored: Scored) -> FloatArray:
    if isinstance(node, Leaf):
        return scored.probabilities[node.digest]
    assert isinstance(node.spec, Jury)  # noqa: S101 - check_fit has refused everything else
    return joint_probabilities(node.spec, _table(node, scored))


def _table(branch: Branch, scored: Scored) -> FloatArray:
    """The members' probabilities; shape (cases, members)."""
    return np.stack([_probabilities(node, scored) for node in branch.parts], axis=1)


def _one_of_each_group(cases: Sequence[GoldenCase], rows: BoolArray) -> BoolArray:
    """True for one case of each group among some rows."""
    at = np.flatnonzero(rows)
    chosen = np.zeros(len(cases), dtype=np.bool_)
    chosen[at[one_of_each_group([cases[int(row)] for row in at])]] = True
    return chosen
