"""What a sweep leaves behind, and what running it again changes."""

from __future__ import annotations

import json
import re

import pytest
from filelock import FileLock

from promptopt.bundle.files import read_bundle
from promptopt.bundle.runtime import BundleJudge
from promptopt.core.case import Label, Split
from promptopt.engines.fake import FakeEngine
from promptopt.errors import ConfigError, GoldenSetError, PolicyError, StudyMismatchError, UserError
from promptopt.metrics.operating_point import choose_threshold
from promptopt.pipeline.summary import read_summary, summarise_sweep

PLOTS = {"precision_recall", "score_distribution", "reliability", "cost_quality", "history"}


def test_summary_on_disk_is_the_outcome_in_numbers(tracked):
    summary = read_summary(tracked.folder)

    assert summary == summarise_sweep(tracked.outcome)
    assert summary.candidates == 6
    assert 1 <= summary.complete <= 6
    assert summary.seed_prompt.trial == 0
    assert summary.stopped_by == "budget of 6 trials"
    assert summary.golden_digest == tracked.golden.digest
    assert set(summary.winner.reports) == set(Split)


def test_trial_table_has_every_trial_with_its_choices_and_metrics(tracked):
    rows = [json.loads(line) for line in (tracked.folder / "trials.jsonl").read_text().splitlines()]

    assert [row["trial"] for row in rows] == [record.number for record in tracked.outcome.result.records]
    complete = [row for row in rows if row["state"] == "complete"]
    assert len(complete) == read_summary(tracked.folder).complete
    assert all(0 < row["auprc"] <= 1 and row["unjudged"] == 0 for row in complete)
    assert all(len(row["demos"].split()) == 2 and row["shape"] == "direct" for row in rows)


def test_bundle_is_whole_and_gives_the_same_verdicts_outside_the_framework(tracked):
    bundle = read_bundle(tracked.folder / "bundle")
    report = BundleJudge(bundle, FakeEngine()).verify()

    assert bundle == tracked.outcome.bundle
    assert bundle.candidate == read_summary(tracked.folder).winner.candidate
    assert report.passed
    assert report.engine_matches
    assert report.largest_difference <= 1e-12
    assert {case.id for case in bundle.parity} <= {case.id for case in tracked.golden.split(Split.SEARCH)}


def test_bundle_gives_other_verdicts_on_another_judge(tracked):
    report = BundleJudge(read_bundle(tracked.folder / "bundle"), FakeEngine(seed=1)).verify()

    assert not report.passed
    assert not report.engine_matches


def test_pinned_labels_are_what_threshold_and_calibration_say(tracked):
    bundle = read_bundle(tracked.folder / "bundle")
    for case in bundle.parity:
        calibrated = bundle.calibration.apply([case.score])[0]
        expected = Label.VIOLATION if calibrated >= bundle.operating_point.threshold else Label.ALLOWED
        assert case.label is expected


def test_plots_show_without_a_network(tracked):
    files = list((tracked.folder / "plots").iterdir())

    assert {file.name for file in files} == {f"{name}.html" for name in PLOTS}
    for file in files:
        html = file.read_text(encoding="utf-8")
        assert "Plotly.newPlot" in html
        assert len(html) > 1_000_000, "plotly.js is not in the file"
        assert not re.search(r"<(script|link|img|iframe)\b[^>]*\b(src|href)\s*=", html)


def test_nothing_is_left_over(tracked):
    names = {path.name for path in tracked.folder.iterdir()}

    assert names <= {"summary.json", "trials.jsonl", "bundle", "plots", "study.db", "sweep.lock"}


def test_thresholds_come_from_the_calibration_split(tracked):
    for finalist in (*tracked.outcome.comparison.finalists, tracked.outcome.comparison.seed):
        evaluation = finalist.calibration
        calibrated = finalist.operation.calibrator.apply(evaluation.scores)
        floor = tracked.config.search.objective.precision_floor

        assert {case.split for case in evaluation.cases} == {Split.CALIBRATION}
        assert len(evaluation.cases) == len(tracked.golden.split(Split.CALIBRATION))
        assert finalist.operating_point == choose_threshold(evaluation.labels, calibrated, "recall_at_precision", floor)


def test_test_split_is_judged_for_seed_prompt_and_winner_only(tracked, judged_pairs):
    comparison = tracked.outcome.comparison
    opened = {prompt.digest for finalist in (comparison.seed, comparison.winner) for prompt in finalist.prompts}
    calibrated = {p.digest for f in (*comparison.finalists, comparison.seed) for p in f.prompts}
    tests, calibrations = (
        {case.digest for case in tracked.golden.split(split)} for split in (Split.TEST, Split.CALIBRATION)
    )
    pairs = judged_pairs(tracked.folder.parent)

    assert len(pairs) == 6
    assert {prompt for prompt, cases in pairs.items() if cases & tests} == opened
    assert {prompt for prompt, cases in pairs.items() if cases & calibrations} == calibrated
    assert all(tests <= pairs[prompt] for prompt in opened)


def test_demonstrations_are_never_scored(tracked, judged_pairs):
    shown = {demo for record in tracked.outcome.result.records for demo in record.candidate.demos}
    # The policy's own boundary examples are shown too; they are no golden cases.
    shown = {demo for demo in shown if not demo.startswith("boundary-")}
    digests = {tracked.golden.by_id[demo].digest for demo in shown}

    assert shown
    assert {tracked.golden.by_id[demo].split for demo in shown} == {Split.SEARCH}
    assert not any(cases & digests for cases in judged_pairs(tracked.folder.parent).values())


def test_openings_name_the_two_candidates(tracked, openings):
    comparison = tracked.outcome.comparison
    on_record = openings(tracked.folder.parent)

    assert {line["candidate"] for line in on_record} == {comparison.seed.digest, comparison.winner.digest}
    assert {line["golden"] for line in on_record} == {tracked.golden.digest}
    assert len(tracked.outcome.bundle.openings) == len(on_record)


def test_running_it_again_judges_nothing_and_changes_no_file(tracked, sweep, openings):
    runs = tracked.folder.parent
    kept = ["small/summary.json", "small/trials.jsonl", "test_openings.jsonl"]
    kept += [f"small/bundle/{path.name}" for path in (tracked.folder / "bundle").iterdir()]
    before = {name: (runs / name).read_bytes() for name in kept}

    again = sweep(runs, "tracking=none")

    assert again.display.calls == []
    assert again.display.trials == []
    assert again.outcome.spent == tracked.outcome.spent
    differing = [name for name in kept if (runs / name).read_bytes() != before[name]]
    assert differing == ["small/summary.json"]  # the first logged to MLflow, the second to nothing
    sweep(runs, "tracking=mlflow")
    assert {name: (runs / name).read_bytes() for name in kept} == before


def test_the_same_seed_finds_the_same(tracked, sweep, tmp_path):
    same = sweep(tmp_path, "tracking=none").outcome

    assert same.result.records == tracked.outcome.result.records
    assert same.comparison.winner.digest == tracked.outcome.comparison.winner.digest
    assert same.comparison.difference == tracked.outcome.comparison.difference
    assert same.bundle.prompts == tracked.outcome.bundle.prompts


@pytest.mark.parametrize(
    ("override", "names"),
    [
        ("seed=1", "seed (was 0, is 1)"),
        ("program.quotings=[quotes,fence]", "search space (was "),
        ("judge.name=another", "judge's name (was fake, is another)"),
        ("search.objective.precision_floor=0.9", "objective (was "),
        ("search.racing.keep=0.5", "racing (was "),
        ("search.sampler.name=random", "sampler (was "),
        ("search.demo_pool=20", "demo_pool (was 30, is 20)"),
        ("golden.path=data/golden/abuse domain=abuse", "golden set (was "),
    ],
)
def test_another_sweep_under_the_same_name_is_refused(tracked, sweep, override, names):
    before = (tracked.folder / "summary.json").read_bytes()

    with pytest.raises(StudyMismatchError) as caught:
        sweep(tracked.folder.parent, "tracking=none", *override.split())

    assert str(caught.value).startswith("sweep 'small' was started with another ")
    assert names in str(caught.value)
    assert "set name=..." in str(caught.value)
    assert (tracked.folder / "summary.json").read_bytes() == before


def test_another_judge_under_the_same_name_is_refused(tracked, sweep, monkeypatch):
    monkeypatch.setattr("promptopt.pipeline.workspace.open_engine", lambda _: FakeEngine(seed=1))

    with pytest.raises(StudyMismatchError, match=r"another judge \(was [0-9a-f]{10}…, is [0-9a-f]{10}…\)"):
        sweep(tracked.folder.parent, "tracking=none")


def test_a_second_process_is_refused(tracked, sweep, quiet_display):
    display = quiet_display()
    with FileLock(tracked.folder / "sweep.lock"), pytest.raises(UserError) as caught:
        sweep(tracked.folder.parent, "tracking=none", display=display)

    assert "sweep 'small' is already running in another process" in str(caught.value)
    assert display.phases == [], "the judge is not loaded for a sweep that is refused"


@pytest.mark.parametrize(
    ("overrides", "error", "says"),
    [
        (["domain.policy=missing.yaml"], PolicyError, "missing.yaml: the file does not exist"),
        (["golden.path=missing"], GoldenSetError, "missing: the folder does not exist"),
        (["domain.name=abuse", "golden.path=data/golden/violence"], ConfigError, "`domain.name` is 'abuse'"),
        (["golden.path=data/golden/abuse"], GoldenSetError, "of domain abuse, the policy of violence"),
        (["search.demo_pool=1000"], UserError, "no violation is left among the 0 search cases"),
    ],
)
def test_inputs_that_do_not_fit_leave_nothing_behind(sweep, tmp_path, overrides, error, says):
    with pytest.raises(error, match=re.escape(says)):
        sweep(tmp_path / "runs", "tracking=none", *overrides)

    assert not (tmp_path / "runs").exists()


def test_a_folder_of_runs_that_cannot_be_made_is_a_users_mistake(sweep, tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(UserError, match=r"cannot be written.*; set runs_dir to a folder"):
        sweep(tmp_path / "file", "tracking=none")

    assert (tmp_path / "file").read_text() == "in the way"


def test_a_file_that_cannot_be_written_is_a_users_mistake_and_nothing_is_lost(sweep, tmp_path, quiet_display):
    (tmp_path / "small" / "plots" / "history.html").mkdir(parents=True)
    with pytest.raises(UserError, match=r"history\.html: the file cannot be written.*it goes on where it stopped"):
        sweep(tmp_path, "tracking=none", "search.budget.trials=1")
    assert not (tmp_path / "small" / "summary.json").exists()
    (tmp_path / "small" / "plots" / "history.html").rmdir()

    resumed = sweep(tmp_path, "tracking=none", "search.budget.trials=1")

    assert resumed.display.calls == []
    assert read_summary(resumed.folder).candidates == 1
