"""Thresholds are fitted on the calibration split alone, and certificates say what they rest on or why there is none."""

from __future__ import annotations

import numpy as np
import pytest

from promptopt.core.case import Split
from promptopt.errors import GoldenSetError, UserError
from promptopt.metrics.bands import Route
from promptopt.metrics.certificates import certify_recall
from promptopt.metrics.isotonic import IsotonicCalibrator
from promptopt.metrics.operating_point import confusion
from promptopt.search.evaluation import Evaluation
from promptopt.search.operating import OperatingPointConfig, check_unseen, fit_operation, one_of_each_group


@pytest.fixture
def calibration(make_case):
    """400 cases in groups of two, a fifth of them violations that score higher."""
    cases = tuple(make_case(i, i % 5 == 0, group=f"g{i // 2}") for i in range(400))
    random = np.random.default_rng(0)
    scores = np.array([random.beta(6, 2) if case.is_violation else random.beta(2, 6) for case in cases])
    return Evaluation(cases, None, scores, None)


def _config(**changes):
    return OperatingPointConfig.model_validate(changes)


def test_a_certified_threshold_is_the_certificates_own_on_the_scale_of_probabilities(calibration):
    kept = one_of_each_group(calibration.cases)
    config = _config(criterion="certified_recall", recall_floor=0.8, delta=0.1, domains=2)
    operation = fit_operation(calibration, config, 0.8)
    expected = certify_recall(calibration.labels[kept], calibration.scores[kept], 0.8, 0.05)
    assert operation.certificate == expected
    assert operation.point.criterion == "certified_recall"
    flagged = operation.probabilities(calibration.scores) >= operation.point.threshold
    assert np.array_equal(flagged, calibration.scores >= expected.threshold)
    assert operation.point.recall == confusion(calibration.labels, calibration.scores, expected.threshold).recall


def test_a_certificate_rests_on_one_case_of_each_group(calibration):
    kept = one_of_each_group(calibration.cases)
    groups = [case.group for case, keep in zip(calibration.cases, kept, strict=True) if keep]
    assert sorted(groups) == sorted({case.group for case in calibration.cases})
    operation = fit_operation(calibration, _config(criterion="certified_recall", recall_floor=0.8), 0.8)
    assert operation.certificate.cases == int(calibration.labels[kept].sum()) < int(calibration.labels.sum())


def test_precision_is_certified_at_the_floor_of_the_objective(calibration):
    operation = fit_operation(calibration, _config(criterion="certified_precision"), 0.5)
    assert (operation.certificate.kind, operation.certificate.floor) == ("precision", 0.5)
    assert operation.point.feasible
    assert operation.point.precision > 0.5


def test_too_few_violations_are_refused_with_how_many_more_are_needed(calibration):
    few = Evaluation(calibration.cases[:60], None, calibration.scores[:60], None)
    operation = fit_operation(few, _config(criterion="certified_recall", recall_floor=0.95), 0.8)
    assert not operation.point.feasible
    assert operation.point.criterion == "recall_at_precision", "the stand-in"
    positives = int(few.labels[one_of_each_group(few.cases)].sum())
    assert operation.certificate.more == 59 - positives
    assert f"at least {59 - positives} more are needed" in operation.point.note
    with pytest.raises(UserError, match="no certified operating point") as caught:
        fit_operation(few, _config(criterion="certified_recall", recall_floor=0.95, require=True), 0.8)
    assert "require=false" in str(caught.value)


def test_calibrators_are_chosen_by_name(calibration):
    none = fit_operation(calibration, _config(calibrator="none"), 0.8)
    assert none.calibrator is None
    assert np.array_equal(none.probabilities(calibration.scores), calibration.scores)
    isotonic = fit_operation(calibration, _config(calibrator="isotonic"), 0.8)
    assert isinstance(isotonic.calibrator, IsotonicCalibrator)
    assert none.certificate is isotonic.certificate is None
    assert fit_operation(calibration, _config(criterion="f1"), 0.8).point.criterion == "f1"


def test_a_certificate_on_what_the_search_has_seen_is_refused(golden, make_case):
    calibration, search = golden.split(Split.CALIBRATION), golden.split(Split.SEARCH)
    check_unseen(calibration, search)
    again = make_case(999, True, text=calibration[3].text, group="elsewhere")
    with pytest.raises(GoldenSetError, match=f"1 calibration cases were seen .* {calibration[3].id}"):
        check_unseen(calibration, [*search, again])
    relative = make_case(998, True, group=calibration[3].group)
    with pytest.raises(GoldenSetError, match="would be void"):
        check_unseen(calibration, [*search, relative])


def test_a_band_keeps_both_floors_and_its_threshold_lies_inside(calibration):
    operation = fit_operation(calibration, _config(criterion="band", recall_floor=0.9, delta=0.2, domains=2), 0.75)
    band, kept = operation.band, one_of_each_group(calibration.cases)
    assert band.delta == 0.1
    assert band.low == certify_recall(calibration.labels[kept], calibration.scores[kept], 0.9, 0.05).threshold
    assert operation.point.criterion == "band"
    assert operation.point.feasible
    violations = operation.probabilities(calibration.scores) >= operation.point.threshold
    assert violations[calibration.scores >= band.high].all()
    assert not violations[calibration.scores < band.low].any()


def test_a_band_without_work_for_people_is_one_threshold(calibration):
    apart = np.where(calibration.labels, 0.9, 0.1) + 0.05 * calibration.scores
    sure = Evaluation(calibration.cases, None, apart, None)
    operation = fit_operation(sure, _config(criterion="band", recall_floor=0.5), 0.3)
    assert operation.band.low == operation.band.high
    assert np.array_equal(
        operation.probabilities(apart) >= operation.point.threshold, operation.band.decide(apart) == Route.VIOLATION
    )


def test_a_band_with_one_end_leaves_the_other_side_to_people_and_one_with_none_is_refused(calibration):
    one = fit_operation(calibration, _config(criterion="band", recall_floor=0.999), 0.5)
    assert one.band.low is None
    assert one.band.high is not None
    assert not one.point.feasible
    assert "more are needed" in one.point.note
    none = Evaluation(calibration.cases[:20], None, calibration.scores[:20], None)
    refused = fit_operation(none, _config(criterion="band"), 0.8)
    assert refused.band is None
    assert refused.point.note.startswith("no band: ")
    with pytest.raises(UserError, match="no certified operating point"):
        fit_operation(calibration, _config(criterion="band", recall_floor=0.999, require=True), 0.5)
