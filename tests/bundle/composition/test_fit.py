"""Bands and weights of compositions, fitted on simulated scores of a calibration split."""

from __future__ import annotations

import numpy as np
import pytest

from promptopt.bundle.composition.model import Cascade, Jury
from promptopt.bundle.composition.reader import read_judge
from promptopt.core.case import GoldenCase, Label, Split
from promptopt.core.digest import digest_text
from promptopt.errors import BundleError, ConfigError, GoldenSetError
from promptopt.golden.golden_set import GoldenSet
from promptopt.metrics.calibration import PlattCalibrator
from promptopt.metrics.isotonic import IsotonicCalibrator
from promptopt.pipeline.composition_checks import check_fit
from promptopt.pipeline.composition_fit import FitTerms, Scored, fit_composition

LIFTS = {"cheap": 2.0, "second": 2.0, "dear": 4.0, "strict": 0.0}
STAGES = [{"bundle": "cheap", "band": [0.4, 0.6]}, {"bundle": "dear"}]
MEMBERS = [{"bundle": "cheap"}, {"bundle": "dear"}, {"bundle": "strict"}]
TERMS = FitTerms(recall_floor=0.9, delta=0.1)


def golden_set(n=900, seed=0, domain="demo"):
    random = np.random.default_rng(seed)
    cases = [
        GoldenCase(
            id=f"c{row}",
            text=f"a calibration text, number {row} of {seed}",
            label=Label.VIOLATION if violates else Label.ALLOWED,
            severity=int(violates),
            group=f"g{row}",
            split=Split.CALIBRATION,
        )
        for row, violates in enumerate(random.random(n) < 0.3)
    ]
    return GoldenSet(name="simulated", domain=domain, cases=tuple(cases))


def scored(branch, golden, seed=1, blind=()):
    """Probabilities of each bundle; those of cases in ``blind`` are unknown to the first."""
    labels = np.array([case.is_violation for case in golden.cases])
    found = {}
    for number, leaf in enumerate(branch.leaves()):
        random = np.random.default_rng((seed, int(digest_text(leaf.name)[:6], 16)))
        found[leaf.digest] = 1 / (1 + np.exp(-random.normal(LIFTS[leaf.name] * (labels - 0.5), 1.0)))
        if not number:
            found[leaf.digest][list(blind)] = np.nan
    return Scored(golden, golden.cases, found)


@pytest.fixture
def cascade(composed_of):
    return read_judge(composed_of("cascade", shape="cascade", stages=STAGES))


@pytest.fixture
def jury(composed_of):
    return read_judge(composed_of("jury", shape="jury", members=MEMBERS, agreement=0.4))


def test_a_cascade_gets_certified_bands_and_a_record_of_what_they_rest_on(cascade):
    golden = golden_set()
    fitted = fit_composition(cascade, scored(cascade, golden), TERMS)
    assert isinstance(fitted.spec, Cascade)
    for stage in fitted.spec.stages:
        low, high = stage.band
        assert 0 < low < 0.5
        assert high is None
        assert stage.cost == 3  # three questions
    record = fitted.spec.fitted
    assert (record.golden, record.golden_digest, record.cases) == ("simulated", golden.digest, 900)
    assert record.positives == sum(case.is_violation for case in golden.cases)
    assert all(certificate.feasible for certificate in record.recall)
    assert np.prod([certificate.floor for certificate in record.recall]) == pytest.approx(0.9)
    assert [certificate.threshold for certificate in record.recall] == [stage.band[0] for stage in fitted.spec.stages]
    assert 0 < record.to_people.point < 1
    assert record.note == ""


def test_precision_gives_the_upper_ends(cascade):
    fitted = fit_composition(cascade, scored(cascade, golden_set(3000)), FitTerms(0.9, 0.1, precision_floor=0.85))
    assert fitted.spec.fitted.precision.feasible
    assert all(0.5 < stage.band[1] < 1 for stage in fitted.spec.stages)


def test_only_one_case_of_each_group_takes_part(cascade):
    golden = golden_set()
    pairs = [case.model_copy(update={"group": f"g{row // 2}"}) for row, case in enumerate(golden.cases)]
    golden = GoldenSet(name="pairs", domain="demo", cases=tuple(pairs))
    assert fit_composition(cascade, scored(cascade, golden), TERMS).spec.fitted.cases == 450


def test_stages_that_do_not_pay_are_left_out_and_named(cascade):
    stages = [
        stage.model_copy(update={"cost": cost}) for stage, cost in zip(cascade.spec.stages, (1, 999), strict=True)
    ]
    from dataclasses import replace

    dear = replace(cascade, spec=cascade.spec.model_copy(update={"stages": tuple(stages)}))
    fitted = fit_composition(dear, scored(dear, golden_set()), TERMS)
    assert [leaf.name for leaf in fitted.leaves()] == ["cheap"]
    assert [leaf.place for leaf in fitted.leaves()] == ["1"]
    assert "stage 2 (dear) is left out" in fitted.spec.fitted.note


def test_too_few_violations_are_refused_with_the_number_that_is_missing(cascade):
    with pytest.raises(ConfigError, match=r"people would judge every case: .* more are needed.*label more calibration"):
        fit_composition(cascade, scored(cascade, golden_set(60)), TERMS)


def test_a_jury_learns_whom_to_believe(jury):
    golden = golden_set()
    fitted = fit_composition(jury, scored(jury, golden, blind=range(5)), TERMS)
    assert isinstance(fitted.spec, Jury)
    cheap, dear, useless = (member.weight for member in fitted.spec.members)
    assert dear > cheap > 10 * useless >= 0
    assert fitted.spec.calibration.slope == pytest.approx(cheap + dear + useless)
    assert fitted.spec.agreement == 0.4
    # as simulated, log-odds of a violation are the lifts times the logits; the penalty shrinks them alike
    assert dear / cheap == pytest.approx(4.0 / 2.0, rel=0.25)
    assert 0 < fitted.spec.threshold < 1
    assert fitted.spec.fitted.cases == 900


def test_the_jury_of_another_aggregate_gets_a_threshold_only(composed_of):
    jury = read_judge(composed_of("jury", shape="jury", members=MEMBERS, aggregate="median"))
    fitted = fit_composition(jury, scored(jury, golden_set()), TERMS)
    assert [member.weight for member in fitted.spec.members] == [1, 1, 1]
    assert fitted.spec.calibration is None
    assert fitted.spec.threshold is not None


def test_a_jury_without_a_useful_member_is_refused(composed_of, jury):
    golden = golden_set()
    found = scored(jury, golden)
    turned = Scored(golden, golden.cases, {name: 1 - p for name, p in found.probabilities.items()})
    useless = next(leaf.digest for leaf in jury.leaves() if leaf.name == "strict")
    turned.probabilities[useless][:] = 0.5
    with pytest.raises(ConfigError, match="no member scores violations above allowed cases"):
        fit_composition(jury, turned, TERMS)


def test_a_jury_in_a_cascade_is_fitted_on_other_groups_than_the_bands(composed_of, jury):
    stages = [{"bundle": "cheap", "band": [0.4, 0.6]}, {"bundle": "jury.yaml"}]
    branch = read_judge(composed_of("both", shape="cascade", stages=stages))
    golden = golden_set(1500)
    fitted = fit_composition(branch, scored(branch, golden), TERMS)
    inner = fitted.parts[1].spec.fitted
    assert inner.cases + fitted.spec.fitted.cases == 1500
    assert 600 < inner.cases < 900
    assert fitted.spec.stages[1].band[0] is not None
    assert fitted.parts[1].spec.members[1].weight > 0
    again = fit_composition(branch, scored(branch, golden), FitTerms(0.9, 0.1, seed=1))
    assert again.parts[1].spec.fitted.cases != inner.cases


def test_what_would_void_a_certificate_is_refused(composed_of, cascade, jury, measured, tmp_path):
    from promptopt.bundle.files import write_bundle

    golden = golden_set(50)
    check_fit(cascade, golden, golden.cases)
    check_fit(jury, golden, golden.cases)
    with pytest.raises(GoldenSetError, match="is of domain other"):
        check_fit(cascade, golden_set(50, domain="other"), ())
    pinned = cascade.parts[0].bundle.parity[3]
    seen = golden.cases[7].model_copy(update={"text": pinned.text})
    with pytest.raises(GoldenSetError, match="1 calibration cases are known to the search of cheap, c7 first"):
        check_fit(cascade, golden, [*golden.cases[:7], seen])

    knots = IsotonicCalibrator(scores=(0.1, 0.9), probabilities=(0.2, 0.8))
    record = {"name": "simulated", "digest": golden.digest}
    write_bundle(measured("stepped", calibration=knots, golden=record), tmp_path / "stepped")
    write_bundle(measured("smooth", calibration=PlattCalibrator(), golden=record), tmp_path / "smooth")
    both = [{"bundle": str(tmp_path / "smooth"), "band": [0.1, 0.9]}, {"bundle": str(tmp_path / "stepped")}]
    stepped = read_judge(composed_of("stepped", shape="cascade", stages=both))
    with pytest.raises(ConfigError, match=r"bundle 2 \(stepped\) carries an isotonic calibration"):
        check_fit(stepped, golden, golden.cases)
    check_fit(stepped, golden_set(50, seed=3), golden.cases)

    composed_of(
        "median", shape="jury", aggregate="median", members=[{"bundle": str(tmp_path / "smooth")}, both[0]][:1] * 2
    )
    mixed = read_judge(composed_of("mixed", shape="cascade", stages=[STAGES[0], {"bundle": "median.yaml"}]))
    with pytest.raises(ConfigError, match="the median of the jury at stage 2 rests on calibrations"):
        check_fit(mixed, golden, golden.cases)


def test_compositions_that_go_deeper_are_refused(composed_of, cascade, jury):
    deep = read_judge(composed_of("deep", shape="jury", members=[{"bundle": "cascade.yaml"}, {"bundle": "cheap"}]))
    golden = golden_set(50)
    with pytest.raises(BundleError, match="member 1 of the jury is a composition itself"):
        check_fit(deep, golden, golden.cases)
