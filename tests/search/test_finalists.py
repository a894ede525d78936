"""The final round: thresholds from calibration alone, and a test split that only two candidates ever see."""

from __future__ import annotations

import getpass
import shutil
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from promptopt.core.case import Label, Split
from promptopt.engines.fake import FakeEngine
from promptopt.errors import UserError
from promptopt.golden.golden_set import GoldenSet
from promptopt.metrics.best_lead import best_lead
from promptopt.metrics.calibration import fit_platt
from promptopt.metrics.operating_point import choose_threshold, confusion
from promptopt.metrics.ranking import average_precision
from promptopt.search import finalists
from promptopt.search.finalists import FinalRound
from promptopt.search.openings import OpeningRecord
from promptopt.search.operating import OperatingPointConfig, fit_operation
from promptopt.search.winner import WinnerConfig, choose_winner

BEST_WINS = {"seed_alpha": None}


class WitnessEngine(FakeEngine):
    """Notes every case text and prompt it is asked about, between other events."""

    def __init__(self, events, **other):
        super().__init__(**other)
        self._events = events

    def score(self, queries):
        for query in queries:
            text = "".join(s.text for s in query.segments if s.from_case)
            self._events.append((text, tuple(s for s in query.segments if not s.from_case)))
        return super().score(queries)


class WitnessRecord(OpeningRecord):
    """Notes when an opening is recorded."""

    def __init__(self, path, events):
        super().__init__(path)
        self._events = events

    def open(self, **facts):
        self._events.append(("open", facts["candidate"]))
        return super().open(**facts)


@pytest.fixture(scope="session")
def final_round_in(open_sweep_in, make_watcher, golden):
    """Sweeps and runs the final round in a folder; another golden set may take over after the search."""

    def run(folder, finalists=3, golden_set=golden, sweep="sweep", engine=None, winner=BEST_WINS, **config):
        events = []
        engine = engine or WitnessEngine(events)
        parts = open_sweep_in(folder, engine=engine, **{"budget": {"trials": 8}, **config})
        result = parts.sweep.run(make_watcher())
        events.clear()
        record = WitnessRecord(folder / "openings" / "test.jsonl", events)
        settings = parts.config.model_copy(
            update={"finalists": finalists, "winner": WinnerConfig.model_validate(winner)}
        )
        final = FinalRound(parts.maker, parts.evaluators, golden_set, parts.sweep.cases, settings)
        comparison = final.run(result, record, sweep)
        return SimpleNamespace(
            parts=parts, result=result, comparison=comparison, events=events, record=record, folder=folder
        )

    return run


@pytest.fixture
def final_round(final_round_in, tmp_path):
    def run(**changes):
        return final_round_in(tmp_path, **changes)

    return run


@pytest.fixture(scope="module")
def done(final_round_in, tmp_path_factory):
    """One final round, for all who only look."""
    return final_round_in(tmp_path_factory.mktemp("done"))


def test_the_parts_of_the_golden_set_stay_apart(done, golden):
    comparison = done.comparison
    shown = {demo for f in comparison.finalists for demo in f.record.candidate.demos} | {c.id for c in done.parts.pool}
    search = {c.id for c in comparison.winner.search.cases}
    calibration = {c.id for c in comparison.winner.calibration.cases}
    test = {c.id for c in comparison.tests[comparison.winner.digest].cases}
    parts_of_it = [shown, search, calibration, test]
    assert Counter(i for part in parts_of_it for i in part) == Counter(c.id for c in golden.cases)
    assert test == {c.id for c in golden.split(Split.TEST)}


def test_only_the_seed_prompt_and_the_winner_meet_the_test_split_and_only_after_it_is_on_record(done, golden):
    comparison, events = done.comparison, done.events
    texts = {case.text for case in golden.split(Split.TEST)}
    opened = [i for i, event in enumerate(events) if event[0] == "open"]
    asked = {i: prompt for i, (text, prompt) in enumerate(events) if text in texts}
    candidates = [events[i][1] for i in opened]
    assert candidates == [done.result.seed.candidate.digest, comparison.winner.digest]
    assert len(set(candidates)) == 2, "the search found something better than the seed prompt"
    assert asked
    assert min(asked) > opened[0]
    allowed = {
        tuple((s.role, s.text) for s in prompt.segments if s.slot is None)
        for finalist in (comparison.seed, comparison.winner)
        for prompt in finalist.prompts
    }
    assert {tuple((s.role, s.text) for s in prompt) for prompt in asked.values()} <= allowed
    after_first = {tuple((s.role, s.text) for s in prompt) for i, prompt in asked.items() if i < opened[1]}
    seed_only = {tuple((s.role, s.text) for s in p.segments if s.slot is None) for p in comparison.seed.prompts}
    assert after_first <= seed_only, "the winner meets it only after its own opening"
    assert [o.candidate for o in done.record.all(golden.digest)] == candidates
    assert set(comparison.tests) == set(candidates)
    tested = [f.digest for f in comparison.finalists if Split.TEST in f.reports]
    assert set(tested) <= set(candidates)


def test_an_opening_is_recorded_once_for_a_sweep_and_a_candidate(done, final_round_in, tmp_path):
    folder = shutil.copytree(done.folder, tmp_path / "copy")
    again = final_round_in(folder)
    assert again.comparison.openings == done.comparison.openings
    assert [e for e in again.events if e[0] != "open"] == [], "and nothing is judged again"
    openings = final_round_in(folder, sweep="another").comparison.openings
    assert len(openings) == 4
    assert {o.sweep for o in openings} == {"sweep", "another"}
    assert all(o.who == getpass.getuser() and o.why for o in openings)


def test_thresholds_come_from_the_calibration_split_alone(done):
    for finalist in done.comparison.finalists:
        calibration = finalist.calibration
        assert finalist.operation.calibrator == fit_platt(calibration.labels, calibration.scores)
        expected = choose_threshold(
            calibration.labels, finalist.operation.calibrator.apply(calibration.scores), "recall_at_precision", 0.8
        )
        assert finalist.operating_point == expected


def test_other_test_labels_change_the_report_and_nothing_else(done, final_round_in, golden, tmp_path):
    def flip(case):
        if case.split is not Split.TEST:
            return case
        label = Label.ALLOWED if case.is_violation else Label.VIOLATION
        return case.model_copy(update={"label": label, "clause": None})

    flipped = GoldenSet(name="toy", domain="toy", cases=tuple(flip(case) for case in golden.cases))
    folder = shutil.copytree(done.folder, tmp_path / "copy")
    honest, other = done.comparison, final_round_in(folder, golden_set=flipped).comparison
    assert other.winner.digest == honest.winner.digest
    for mine, theirs in zip(honest.finalists, other.finalists, strict=True):
        assert mine.operating_point == theirs.operating_point
        assert mine.operation == theirs.operation
    test = Split.TEST
    assert other.winner.reports[test].metrics["auprc"].point != honest.winner.reports[test].metrics["auprc"].point


def test_reports_say_what_the_scores_say(done):
    comparison = done.comparison
    winner = comparison.winner
    assert winner.digest == done.result.ranked[0].candidate.digest
    assert winner.record.values[0] == pytest.approx(average_precision(winner.search.labels, winner.search.scores))
    test = comparison.tests[winner.digest]
    report = winner.reports[Split.TEST]
    found = confusion(test.labels, winner.calibrated(test), winner.operating_point.threshold)
    assert report.metrics["auprc"].point == pytest.approx(average_precision(test.labels, test.scores))
    assert report.metrics["precision"].point == pytest.approx(found.precision)
    assert report.metrics["recall"].point == pytest.approx(found.recall)
    assert report.metrics["f1"].point == pytest.approx(found.f1)
    assert (report.cases, report.positives, report.unjudged) == (36, int(test.labels.sum()), 0)
    seed = comparison.tests[comparison.seed.digest]
    assert comparison.difference.point == pytest.approx(
        average_precision(test.labels, test.scores) - average_precision(seed.labels, seed.scores)
    )
    for interval in report.metrics.values():
        assert interval.low <= interval.point <= interval.high


def test_the_seed_prompt_wins_when_nothing_beats_it(final_round, make_space):
    space = make_space(
        shapes=["direct"], policies=["summary"], instructions={"plain": "Apply {title}."}, quotings=["quotes"],
        label_words={"a": {"violation": "yes", "allowed": "no"}}, placements=["item_first"],
        demos={"counts": [0]}, seed={},
    )  # fmt: skip
    comparison = final_round(space=space, budget={"trials": 1}).comparison
    assert comparison.winner is comparison.seed
    assert len(comparison.finalists) == 1
    assert comparison.difference.point == 0.0
    assert len(comparison.openings) == 1


def test_the_best_are_calibrated_and_the_seed_prompt_besides(done):
    comparison = done.comparison
    assert [f.record for f in comparison.finalists] == list(done.result.ranked[:3])
    assert comparison.seed.record == done.result.seed
    assert Split.CALIBRATION in comparison.seed.reports
    assert Split.TEST in comparison.seed.reports


def test_the_seed_prompt_stays_unless_the_best_stands_out(done, final_round_in, tmp_path):
    kept = final_round_in(shutil.copytree(done.folder, tmp_path / "strict"), winner={"seed_alpha": 1e-4}, sweep="s")
    assert done.comparison.lead is None
    assert not kept.comparison.lead.stands_out
    assert kept.comparison.winner is kept.comparison.seed
    others = [record for record in done.result.ranked if record != done.result.seed]
    assert [f.record for f in kept.comparison.finalists[1:]] == others[:2]
    assert len(kept.comparison.openings) == len(done.comparison.openings) + 1


def test_the_lead_allows_for_all_that_were_judged_in_full_however_few_are_kept(done, final_round_in, tmp_path):
    assert len(done.result.ranked) > 3
    leads = [
        final_round_in(
            shutil.copytree(done.folder, tmp_path / str(kept)), finalists=kept, winner={"seed_alpha": 0.1}, sweep="s"
        ).comparison.lead
        for kept in (1, 3)
    ]
    assert leads[0] == leads[1]
    pair = best_lead(
        done.comparison.seed.search.labels,
        done.comparison.seed.search.scores,
        [done.comparison.winner.search.scores],
        average_precision,
        alpha=0.1,
        groups=[case.group for case in done.comparison.seed.search.cases],
    )
    assert leads[0].difference.point == pytest.approx(pair.point)
    assert leads[0].difference.low < pair.low, "as if nobody else had been tried"


@pytest.mark.parametrize("shape", ["direct", "verbalized"])
def test_only_scores_that_were_crossfitted_are_said_to_be(shape, final_round_in, make_space, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(finalists, "choose_winner", lambda *given: (asked.append(given[0]), choose_winner(*given))[1])
    seed = {"shape": shape, "policy": "summary", "instruction": "plain"}
    final_round_in(tmp_path, space=make_space(shapes=[shape], seed=seed))
    (scores,) = asked
    assert set(scores.crossfitted) == {shape == "verbalized"}
    assert len(scores.crossfitted) == len(scores.ranked)


def test_a_jury_is_calibrated_and_tested_as_one(done, final_round_in, tmp_path):
    folder = shutil.copytree(done.folder, tmp_path / "jury")
    found = final_round_in(folder, winner={"seed_alpha": None, "jury": 3}, sweep="jury")
    jury, members = found.comparison.winner, done.result.ranked[:3]
    assert jury.record.candidate.choices == {f"member_{i}": m.candidate.digest for i, m in enumerate(members, start=1)}
    assert len(jury.prompts) == sum(len(f.prompts) for f in done.comparison.finalists)
    assert [p.question for p in jury.prompts] == list(jury.procedure.questions)
    assert [f.record for f in found.comparison.finalists[1:]] == list(members[:2])
    assert jury.record.values[0] == pytest.approx(average_precision(jury.search.labels, jury.search.scores))
    assert found.comparison.tests[jury.digest].scores.shape == (36,)
    spent = jury.record.metrics["tokens_per_case"]
    assert spent == pytest.approx(sum(f.record.metrics["tokens_per_case"] for f in done.comparison.finalists), rel=0.05)
    texts = {case.text for case in jury.search.cases}
    assert not [text for text, _ in found.events if text in texts], "the members' scores are the jury's"


class _SeedDoesNotFit(FakeEngine):
    """Gives no verdict under the seed prompt, whose policy text is the summary."""

    def score(self, queries):
        scores = super().score(queries)
        silent = [i for i, q in enumerate(queries) if q.segments[0].text.endswith("No hate, no threats.")]
        logprobs = scores.logprobs.copy()
        logprobs[silent] = np.nan
        return replace(scores, logprobs=logprobs, unjudged=dict.fromkeys(silent, "too long"))


def test_a_seed_prompt_that_does_not_fit_is_compared_all_the_same(final_round):
    found = final_round(engine=_SeedDoesNotFit(), budget={"trials": 5})
    comparison = found.comparison
    assert not found.result.seed.complete
    assert comparison.winner.digest != comparison.seed.digest
    report = comparison.seed.reports[Split.TEST]
    assert report.unjudged == report.cases == 36
    assert np.isnan(report.metrics["auprc"].point)
    assert np.isnan(comparison.difference.point)
    assert not comparison.seed.operating_point.feasible
    assert comparison.winner.reports[Split.TEST].unjudged == 0


def _open(record, **changes):
    facts = {"why": "w", "sweep": "s", "candidate": "c", "golden": "g", **changes}
    return record.open(**facts)


def test_openings_are_kept_by_golden_set(tmp_path):
    record = OpeningRecord(tmp_path / "deep" / "openings.jsonl")
    assert record.all("g") == []
    first = _open(record)
    assert _open(record) == first
    second = _open(record, candidate="d")
    _open(record, golden="another")
    assert OpeningRecord(tmp_path / "deep" / "openings.jsonl").all("g") == [first, second]
    assert first.opened <= second.opened
    assert first.opened.tzinfo is not None


def test_an_edited_record_of_openings_is_refused(tmp_path):
    path = tmp_path / "openings.jsonl"
    _open(OpeningRecord(path))
    path.write_text(path.read_text(encoding="utf-8") + '{"opened": "yesterday"}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"openings\.jsonl:2: the line is not an opening"):
        OpeningRecord(path).all("g")


def test_only_the_winner_has_to_be_certified(done, golden, monkeypatch, tmp_path):
    parts, asked = done.parts, []

    def watched(calibration, config, floor):
        asked.append(config.require)
        return fit_operation(calibration, config.model_copy(update={"require": False}), floor)

    monkeypatch.setattr("promptopt.search.finalists.fit_operation", watched)
    required = OperatingPointConfig(criterion="certified_recall", require=True)
    settings = parts.config.model_copy(update={"finalists": 3, "operating_point": required})
    final = FinalRound(parts.maker, parts.evaluators, golden, parts.sweep.cases, settings)
    final.run(done.result, OpeningRecord(tmp_path / "test.jsonl"), "sweep")
    assert asked[0]
    assert len(asked) >= 3
    assert not any(asked[1:])
