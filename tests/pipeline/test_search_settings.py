"""Objectives, budgets and program shapes, each through a whole sweep."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest
from rich.console import Console

from promptopt.bundle.files import read_bundle
from promptopt.bundle.runtime import BundleJudge
from promptopt.commands.sweep import print_outcome
from promptopt.core.case import Split
from promptopt.engines.fake import FakeEngine
from promptopt.pipeline.summary import read_summary


def test_several_objectives_judge_every_candidate_on_every_case(sweep, tmp_path):
    finished = sweep(tmp_path, "tracking=none", "search.objective.names=[auprc,tokens]", "search.budget.trials=3")
    records = finished.outcome.result.records

    assert all(record.complete and len(record.values) == 2 for record in records)
    for record in records:
        assert record.values == (record.metrics["auprc"], record.metrics["tokens_per_case"])
    best = max(records, key=lambda record: record.values[0])
    assert finished.outcome.comparison.winner.digest == best.candidate.digest


@pytest.mark.parametrize("program", ["direct", "verbalized"])
def test_seconds_are_an_objective(sweep, tmp_path, program):
    settings = ["tracking=none", f"program={program}", "search.objective.names=[auprc,seconds]"]
    finished = sweep(tmp_path, *settings, "search.budget.trials=3")

    for record in finished.outcome.result.records:
        assert record.values == (record.metrics["auprc"], record.metrics["seconds_per_case"])
        assert 0 < record.values[1] < 1
    summary = read_summary(finished.folder)
    assert summary.winner.seconds_per_case == finished.outcome.comparison.winner.record.values[1]
    screen = Console(width=120, file=io.StringIO(), highlight=False)
    print_outcome(finished.outcome, summary, screen)
    assert re.search(rf"seconds per case +[\d.e-]+ +{summary.winner.seconds_per_case:.3g}\n", screen.file.getvalue())


def test_fewest_tokens_win_where_tokens_are_the_objective(sweep, tmp_path):
    finished = sweep(
        tmp_path, "tracking=none", "search.objective.names=[tokens]", "search.budget.trials=3", "search.racing.keep=1"
    )
    complete = [record for record in finished.outcome.result.records if record.complete]

    assert finished.outcome.comparison.winner.record.values[0] == min(record.values[0] for record in complete)


@pytest.mark.parametrize(
    ("override", "stopped_by", "spent"),
    [
        ("search.budget.judge_calls=150", "budget of 150 judge calls", lambda spent: spent.judgements >= 150),
        ("search.budget.tokens=9000", "budget of 9,000 tokens", lambda spent: spent.tokens_computed >= 9000),
        ("search.budget.seconds=0.01", "budget of 0.01 seconds", lambda spent: spent.seconds >= 0.01),
    ],
)
def test_budgets_stop_the_search(sweep, tmp_path, override, stopped_by, spent):
    finished = sweep(tmp_path, "tracking=none", "search.budget.trials=50", override)

    assert finished.outcome.result.stopped_by == stopped_by
    assert 1 <= len(finished.outcome.result.records) < 50
    assert spent(finished.outcome.spent)


def test_a_checklist_asks_every_clause_and_is_exported(sweep, tmp_path):
    finished = sweep(
        tmp_path,
        "tracking=none",
        "program=all",
        "program.shapes=[checklist]",
        "program.seed.shape=checklist",
        "search.budget.trials=2",
        "search.finalists=1",
    )
    bundle = read_bundle(finished.folder / "bundle")
    engine = FakeEngine()
    verdicts = BundleJudge(bundle, engine).judge(["I will kill you", "a recipe for bread"])

    assert bundle.procedure.shape == "checklist"
    assert len(bundle.prompts) == len(bundle.procedure.questions) > 6
    assert engine.queries_seen == 2 * len(bundle.prompts)
    assert all(verdict.is_judged and verdict.rule for verdict in verdicts)
    assert BundleJudge(bundle, FakeEngine()).verify().passed
    full_grid = read_summary(finished.folder).judgements_full_grid
    searched = len(finished.outcome.comparison.winner.search.cases)
    assert full_grid == 2 * len(bundle.prompts) * searched


def test_a_band_goes_from_the_settings_to_bundle_summary_and_screen(sweep, tmp_path):
    finished = sweep(
        tmp_path,
        "tracking=none",
        "search.operating_point.criterion=band",
        "search.operating_point.recall_floor=0.6",
        "search.operating_point.delta=0.4",
        "search.objective.precision_floor=0.6",
        "search.budget.trials=2",
        "search.finalists=1",
    )
    bundle, summary = read_bundle(finished.folder / "bundle"), read_summary(finished.folder)
    band = finished.outcome.comparison.winner.operation.band
    out = Console(file=io.StringIO(), width=200)
    print_outcome(finished.outcome, summary, out)

    assert band is not None
    assert bundle.band == summary.winner.band == band
    assert (
        f"People judge the scores between {0 if band.low is None else format(band.low, '.4g')}" in out.file.getvalue()
    )
    assert "are escalated to people" in (finished.folder / "bundle" / "README.md").read_text(encoding="utf-8")
    judge = BundleJudge(bundle, FakeEngine())
    texts = [case.text for case in finished.outcome.comparison.winner.search.cases]
    scored = judge.judge_scored(texts)
    inside = [(band.low is None or s >= band.low) and (band.high is None or s < band.high) for _, s in scored]
    assert [verdict.escalate for verdict, _ in scored] == inside
    assert judge.verify().passed


def test_a_jury_goes_from_the_settings_to_a_bundle_that_judges_and_verifies(sweep, tmp_path):
    finished = sweep(
        tmp_path,
        "tracking=none",
        "program=all",
        "program.shapes=[direct,checklist]",
        "search.budget.trials=4",
        "search.winner.jury=3",
        "search.racing.keep=1",
    )
    bundle = read_bundle(finished.folder / "bundle")
    engine = FakeEngine()
    verdicts = BundleJudge(bundle, engine).judge(["I will kill you", "a recipe for bread"])

    assert bundle.procedure.shape == "jury"
    assert [member.name for member in bundle.procedure.members] == ["j1", "j2", "j3"]
    assert engine.queries_seen == 2 * len(bundle.prompts), "all members' questions are asked in one call"
    assert all(verdict.is_judged for verdict in verdicts)
    assert BundleJudge(bundle, FakeEngine()).verify().passed
    summary = read_summary(finished.folder)
    assert list(summary.winner.choices) == ["member_1", "member_2", "member_3"]
    assert summary.winner.tokens_per_case > summary.seed_prompt.tokens_per_case


def test_a_seed_prompt_that_stays_is_exported_and_the_screen_says_why(sweep, tmp_path):
    finished = sweep(tmp_path, "tracking=none", "search.winner.seed_alpha=0.0001", "search.racing.keep=1")
    screen = io.StringIO()
    summary = read_summary(finished.folder)
    print_outcome(finished.outcome, summary, Console(file=screen, width=100))

    assert summary.winner.candidate == summary.seed_prompt.candidate
    assert summary.lead is not None
    said = " ".join(screen.getvalue().split())
    assert "which chance explains: the seed prompt is exported" in said
    assert "search.winner.jury=3" in said

    refused = io.StringIO()
    print_outcome(finished.outcome, summary.model_copy(update={"jury_gap": -0.021}), Console(file=refused, width=100))
    said = " ".join(refused.getvalue().split())
    assert "A jury of the best prompts does worse than the seed prompt on the search cases (-0.021)" in said
    assert "search.winner.jury=3" not in said


@pytest.mark.parametrize("caught", [0.05, 0.5])
def test_the_screen_names_a_threshold_that_catches_next_to_nothing(sweep, tmp_path, caught):
    finished = sweep(tmp_path, "tracking=none", "search.budget.trials=1", "search.finalists=1")
    winner = finished.outcome.comparison.winner
    report = winner.reports[Split.CALIBRATION]
    recall = report.metrics["recall"].model_copy(update={"point": caught})
    report = report.model_copy(update={"metrics": {**report.metrics, "recall": recall}})
    winner = replace(winner, reports={**winner.reports, Split.CALIBRATION: report})
    outcome = replace(finished.outcome, comparison=replace(finished.outcome.comparison, winner=winner))
    screen = io.StringIO()
    print_outcome(outcome, read_summary(finished.folder), Console(file=screen, width=100))

    said = " ".join(screen.getvalue().split())
    assert ("catches 5% of the calibration split's violations" in said) == (caught < 0.2)
    assert ("search.operating_point.criterion=f1" in said) == (caught < 0.2)
