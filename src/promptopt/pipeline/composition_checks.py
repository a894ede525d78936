"""Refuses to fit a composition where nothing that came of it could be trusted."""

from __future__ import annotations

from collections.abc import Sequence

from promptopt.bundle.composition.model import Jury
from promptopt.bundle.composition.tree import Branch, Leaf
from promptopt.core.case import GoldenCase
from promptopt.errors import BundleError, ConfigError, GoldenSetError
from promptopt.golden.golden_set import GoldenSet
from promptopt.metrics.isotonic import IsotonicCalibrator
from promptopt.pipeline.known_cases import known_to


def check_fit(branch: Branch, golden: GoldenSet, cases: Sequence[GoldenCase]) -> None:
    """Checks that a composition can be fitted on calibration cases.

    Args:
        branch: The composition.
        golden: The golden set.
        cases: Its calibration split.

    Raises:
        GoldenSetError: Another domain, or cases that a bundle's search has seen: a certificate on them would be void.
        BundleError: The composition is not of a form that can be fitted.
        ConfigError: The bundles' own calibration on these very cases would void what is certified on them.
    """
    if golden.domain != branch.domain:
        raise GoldenSetError(
            f"the golden set is of domain {golden.domain}, the bundles judge {branch.domain}",
            where=golden.name,
            remedy="give a golden set of the bundles' domain",
        )
    _check_form(branch)
    for leaf in branch.leaves():
        if known := known_to(leaf.bundle, cases):
            raise GoldenSetError(
                f"{len(known)} calibration cases are known to the search of {leaf.name}, {known[0]} first: a "
                "certificate on them would be void",
                where=golden.name,
                remedy="fit on a calibration split that no search has seen",
            )
    if not isinstance(branch.spec, Jury):
        _check_calibrators(branch, golden)


def _check_form(branch: Branch) -> None:
    juries = [branch] if isinstance(branch.spec, Jury) else [node for node in branch.parts if isinstance(node, Branch)]
    for jury in juries:
        nested = next((node for node in jury.parts if not isinstance(node, Leaf)), None)
        if nested is not None:
            raise BundleError(
                f"member {nested.place} of the jury is a composition itself",
                where=branch.where,
                remedy="fit juries of bundles, and cascades of bundles and of such juries",
            )


def _check_calibrators(branch: Branch, golden: GoldenSet) -> None:
    fresh = "give a golden set that no bundle was calibrated on"
    for leaf in branch.leaves():
        bundle = leaf.bundle
        if bundle.golden.digest == golden.digest and isinstance(bundle.calibration, IsotonicCalibrator):
            raise ConfigError(
                f"bundle {leaf.place} ({leaf.name}) carries an isotonic calibration that was fitted on these cases and "
                "ties scores by their labels, which voids a certificate on them",
                where=branch.where,
                remedy=f"{fresh}, or export the bundle with search.operating_point.calibrator=platt",
            )
    for node in branch.parts:
        if isinstance(node, Branch) and isinstance(node.spec, Jury) and node.spec.aggregate != "mean_logit":
            seen = [leaf.name for leaf in node.leaves() if leaf.bundle.golden.digest == golden.digest]
            if seen:
                raise ConfigError(
                    f"the {node.spec.aggregate} of the jury at stage {node.place} rests on calibrations that were "
                    f"fitted on these cases ({', '.join(seen)}), which voids a certificate on them",
                    where=branch.where,
                    remedy=f"{fresh}, or write `aggregate: mean_logit`",
                )
