"""The promotion gate from folders to result: what is refused, what goes on record, and who is asked what."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from promptopt.bundle.files import write_bundle
from promptopt.bundle.model import GoldenRecord, ParityCase, PolicyRecord, PromptBundle, SealOpening, SplitScores
from promptopt.core.case import GoldenCase, Split
from promptopt.core.digest import digest_file
from promptopt.core.prompt import LoweredPrompt, PromptSegment
from promptopt.engines.base import LabelScores, Usage
from promptopt.engines.fake import FakeEngine
from promptopt.errors import BundleError, ConfigError, GoldenSetError, UserError
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.manifest import Provenance
from promptopt.golden.writer import write_golden_set
from promptopt.metrics.calibration import PlattCalibrator
from promptopt.metrics.intervals import Interval
from promptopt.metrics.operating_point import OperatingPoint
from promptopt.pipeline import promotion
from promptopt.pipeline.promotion import PromotionRequest, promote
from promptopt.pipeline.promotion_gate import GateSettings, PromotionOutcome
from promptopt.pipeline.promotion_slices import parse_floor
from promptopt.policy.model import Action, Clause, Outcome, Rule, When
from promptopt.policy.procedure import Procedure

QUICK = GateSettings(permutations=400, resamples=100)
CLAUSE = Clause(
    id="X1",
    title="t",
    severity=3,
    definition="d",
    question="q?",
    includes=("i",),
    excludes=("e",),
    action=Action.REMOVE,
)
DIRECT = Procedure(
    shape="direct",
    clauses=(CLAUSE,),
    precedence=("X1",),
    routing=(
        Rule(id="R1", when=When(any=("X1",)), then=Outcome.VIOLATION),
        Rule(id="R2", when=When(), then=Outcome.ALLOWED),
    ),
)


class ScriptedEngine(FakeEngine):
    """Knows the labels, and follows them as closely as the prompt says: good, poor or blind."""

    def __init__(self, labels, events, record):
        super().__init__()
        self._labels = labels
        self._events = events
        self._record = record

    def score(self, queries):
        logprobs, unjudged = np.full((len(queries), 2), np.nan, dtype=np.float32), {}
        for row, query in enumerate(queries):
            prompt, text = query.segments[0].text, query.segments[1].text
            self._events.append((prompt, text, self._record.is_file()))
            noise = random.Random(f"{prompt} {text}").gauss(0, 1)
            if prompt.startswith("silent") and noise > 0.5:
                unjudged[row] = "silent"
                continue
            strength = 0.3 if prompt.startswith("poor") else 2.5
            logit = strength * (1 if self._labels[text] else -1) + noise
            logprobs[row] = -np.logaddexp(0, [-logit, logit])
        return LabelScores(logprobs, unjudged, {}, Usage(queries=len(queries)))


def words(seed):
    letters = random.Random(seed)
    return " ".join("".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(8))


def golden_case(n):
    violation = n % 2 == 0
    return GoldenCase(
        id=f"c{n:03d}",
        text=words(n),
        label="violation" if violation else "allowed",
        clause="X1" if violation else None,
        severity=3 if violation else 0,
        group=f"g{n // 2:03d}",
        split=Split.TEST if n < 100 else (Split.CALIBRATION if n < 104 else Split.SEARCH),
    )


GOLDEN = GoldenSet(name="toy", domain="toy", cases=tuple(golden_case(n) for n in range(110)))


def make_bundle(kind, **fields):
    prompt = LoweredPrompt(
        question=DIRECT.questions[0],
        segments=(PromptSegment(role="system", text=f"{kind} prompt"), PromptSegment(role="user", slot="text")),
        labels=("Yes", "No"),
    )
    point = OperatingPoint(
        threshold=0.5, criterion="recall_at_precision", precision=0.9, recall=0.8, f1=0.85, feasible=True
    )
    card = FakeEngine().describe()
    pinned = ParityCase(id="c108", text=words(108), answers={prompt.question: 0.9}, score=0.9, label="violation")
    auprc = Interval(point={"good": 0.95, "silent": 0.9}.get(kind.split()[0], 0.6), low=0.5, high=1.0, level=0.95)
    values = {
        "name": kind,
        "domain": "toy",
        "created": datetime(2026, 1, 2, tzinfo=UTC),
        "promptopt": "0.1.0",
        "prompts": (prompt,),
        "procedure": DIRECT,
        "calibration": PlattCalibrator(slope=0.5),
        "operating_point": point,
        "policy": PolicyRecord(title="Toy", version="1.0.0", digest="a" * 64),
        "golden": GoldenRecord(name="toy", digest=GOLDEN.digest),
        "candidate": kind.encode().hex().ljust(64, "0"),
        "engine": card.to_dict(),
        "fingerprint": card.fingerprint,
        "judge": {"name": "fake", "engine": "fake"},
        "scores": {Split.SEARCH: SplitScores(metrics={"auprc": auprc}, cases=6, positives=3, unjudged=0)},
        "parity": (pinned,),
    }
    return PromptBundle.model_validate(values | fields)


@pytest.fixture
def golden_folder(tmp_path):
    def write(golden=GOLDEN, name="golden"):
        write_golden_set(tmp_path / name, golden, Provenance())
        return tmp_path / name

    return write


@pytest.fixture
def gate(tmp_path, monkeypatch, golden_folder):
    """Calls the gate on bundles of these kinds, in a folder of runs; ``gate.events`` holds what judges were asked."""

    class Gate:
        record = tmp_path / "runs" / "test_openings.jsonl"

        def __init__(self):
            self.events, self.opened, self.closed = [], [], []

        def request(self, winner, incumbent, **changes):
            folders = [tmp_path / "runs" / role / "bundle" for role in ("new", "old")]
            for bundle, folder in zip((winner, incumbent), folders, strict=True):
                bundle = make_bundle(bundle) if isinstance(bundle, str) else bundle
                write_bundle(bundle, folder, overwrite=True)
            given = {"golden": tmp_path / "golden", "settings": QUICK, "runs_dir": self.record.parent} | changes
            if not (tmp_path / "golden").exists():
                golden_folder()
            return PromotionRequest(*folders, **given)

        def __call__(self, winner, incumbent, **changes):
            return promote(self.request(winner, incumbent, **changes))

        def lines(self):
            return [json.loads(line) for line in self.record.read_text().splitlines()] if self.record.exists() else []

    made = Gate()
    labels = {case.text: case.is_violation for case in GOLDEN.cases}

    def open_engine(judge, where):
        engine = ScriptedEngine(labels, made.events, made.record)
        made.opened.append(judge)
        monkeypatch.setattr(engine, "close", lambda: made.closed.append(judge))
        return engine

    monkeypatch.setattr(promotion, "open_bundle_engine", open_engine)
    return made


def test_a_better_winner_is_promoted(gate):
    found = gate("good", "poor")

    assert found.outcome is PromotionOutcome.BETTER
    assert found.promoted
    assert found.reasons[0].startswith("AUPRC is significantly higher (+0.")
    assert len(found.reasons) == 1
    assert (found.cases, found.violations, found.paired, found.groups) == (100, 50, 100, 50)
    assert found.estimates.search == pytest.approx(0.35)
    assert 0 < found.estimates.given_significance.point <= found.estimates.test.point
    assert (found.winner.name, found.incumbent.name) == ("good", "poor")
    assert found.notes == ()


def test_a_worse_one_and_one_that_does_not_differ_are_not(gate):
    worse, same = gate("poor", "good"), gate("good too", "good")

    assert (worse.outcome, worse.promoted) == (PromotionOutcome.WORSE, False)
    assert (same.outcome, same.promoted) == (PromotionOutcome.NO_DIFFERENCE, False)
    assert worse.estimates.search == pytest.approx(-0.35)
    assert same.estimates.given_significance is None


def test_each_test_case_is_asked_about_once_a_bundle_and_nothing_else(gate):
    gate("good", "poor")

    texts = sorted(case.text for case in GOLDEN.split(Split.TEST))
    for prompt in ("good prompt", "poor prompt"):
        assert sorted(text for asked, text, _ in gate.events if asked == prompt) == texts
    assert len(gate.events) == 200


def test_the_opening_is_on_record_before_a_case_is_judged(gate):
    found = gate("good", "poor", reason="monthly review")

    assert all(recorded for _, _, recorded in gate.events)
    assert [line["candidate"] for line in gate.lines()] == [make_bundle(kind).candidate for kind in ("poor", "good")]
    assert {(line["why"], line["golden"]) for line in gate.lines()} == {("monthly review", GOLDEN.digest)}
    assert all(line["who"] and line["opened"] for line in gate.lines())
    assert [o.candidate for o in found.openings] == [line["candidate"] for line in gate.lines()]
    assert (found.earlier_openings, found.record) == (0, str(gate.record))


def test_the_same_question_is_one_opening_and_another_is_another(gate):
    first, again = gate("good", "poor"), gate("good", "poor")
    assert again == first
    assert len(gate.lines()) == 2

    other = gate("good", "poor", settings=GateSettings(alpha=0.01, permutations=400, resamples=100))
    assert other.earlier_openings == 2
    assert len(gate.lines()) == 4
    assert gate("good", "poor", reason="audit").earlier_openings == 4


def test_openings_in_a_bundle_count_once(gate):
    sealed = SealOpening(opened=datetime(2026, 1, 1, tzinfo=UTC), who="lead", why="final", candidate="c" * 64)
    elsewhere = {"golden": GoldenRecord(name="other", digest="b" * 64)}
    both = gate(make_bundle("good", openings=(sealed,)), make_bundle("poor", openings=(sealed,)))
    assert both.earlier_openings == 1

    found = gate(make_bundle("good", openings=(sealed,), **elsewhere), "poor", reason="another")
    assert found.earlier_openings == 2, "the two of before, and none of another golden set"
    assert [note for note in found.notes if "the winner was made on another golden set (other, bbbbbbbbbbbb)" in note]
    assert np.isnan(found.estimates.search)


def test_the_record_lies_beside_the_runs_unless_told(gate, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path / "..")
    request = gate.request("good", "poor", runs_dir=None)
    gate.record.write_text("")
    assert promote(request).record == str(gate.record)

    gate.record.unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert promote(request).record == "runs/test_openings.jsonl"
    assert (tmp_path / "elsewhere" / "runs" / "test_openings.jsonl").is_file()


def test_one_judge_is_opened_once_and_two_one_after_the_other(gate):
    gate("good", "poor")
    assert len(gate.opened) == len(gate.closed) == 1

    other = make_bundle("poor", judge={"name": "other", "engine": "fake"})
    found = gate("good", other)
    assert [judge["name"] for judge in gate.opened[1:]] == ["other", "fake"]
    assert len(gate.closed) == 3
    assert (found.winner.judge, found.incumbent.judge) == ("fake", "other")
    assert found.promoted


def test_another_judge_than_the_measured_one_is_refused_before_the_test_is_opened(gate):
    card = replace(FakeEngine(seed=7).describe())
    measured_elsewhere = make_bundle("good", engine=card.to_dict(), fingerprint=card.fingerprint)

    with pytest.raises(BundleError, match="measured on another judge"):
        gate(measured_elsewhere, "poor")
    assert gate.lines() == gate.events == []
    assert len(gate.closed) == 1
    assert gate(measured_elsewhere, "poor", any_judge=True).promoted


def test_silence_is_counted_and_costs_recall(gate):
    found = gate("silent", "good")

    silent = found.winner.unjudged
    assert silent > 10
    assert 0 < found.winner.unjudged_violations < silent
    assert (found.incumbent.unjudged, found.paired) == (0, 100 - silent)
    recall = next(metric for metric in found.metrics if metric.name == "recall")
    assert recall.winner <= 1 - found.winner.unjudged_violations / 50
    assert (found.outcome, found.promoted) == (PromotionOutcome.WORSE, False)
    assert any(reason.startswith("significantly fewer violations are judged right") for reason in found.reasons)


def test_verdicts_follow_the_bundles_calibration_and_threshold(gate):
    point = make_bundle("good").operating_point.model_copy(update={"threshold": 0.99})
    strict = gate(make_bundle("good", operating_point=point), "good")

    by_name = {metric.name: metric for metric in strict.metrics}
    assert by_name["auprc"].difference.point == 0.0, "the ranking is the same"
    assert by_name["recall"].winner == 0.0, "no calibrated score reaches the threshold"
    assert strict.outcome is PromotionOutcome.WORSE


def test_a_floor_stands_in_the_way_of_promotion_and_not_of_the_outcome(gate):
    found = gate("good", "poor", floors=(parse_floor("clause:X1=1"), parse_floor("severity>=3=0.5")))

    assert found.outcome is PromotionOutcome.BETTER
    assert not found.promoted
    assert found.reasons[1].startswith("recall on clause:X1 is 0.9")
    assert len(found.reasons) == 2


def test_inputs_that_do_not_fit_are_refused_and_the_test_stays_sealed(gate, golden_folder, tmp_path):
    other = GOLDEN.model_copy(update={"domain": "abuse"})
    cases = [case.model_copy(update={"split": Split.SEARCH}) for case in GOLDEN.cases if case.split is Split.TEST]
    rest = [case for case in GOLDEN.cases if case.split is not Split.TEST]
    only_bad = [case for case in GOLDEN.cases if case.split is not Split.TEST or case.is_violation]

    with pytest.raises(BundleError, match="the winner judges abuse, the incumbent toy; compare bundles of one domain"):
        gate(make_bundle("good", domain="abuse"), "poor")
    with pytest.raises(GoldenSetError, match="the golden set is of domain abuse, the bundles judge toy"):
        gate("good", "poor", golden=golden_folder(other, "other"))
    with pytest.raises(BundleError, match="winner and incumbent are the same bundle"):
        gate("good", "good")
    with pytest.raises(GoldenSetError, match="all 50 cases of the test split are violations"):
        gate("good", "poor", golden=golden_folder(GOLDEN.model_copy(update={"cases": tuple(only_bad)}), "bad"))
    with pytest.raises(ConfigError, match="no violation of the test split is in the slice clause:X9"):
        gate("good", "poor", floors=(parse_floor("clause:X9=0.5"),))
    with pytest.raises(GoldenSetError, match="the folder does not exist"):
        gate("good", "poor", golden=tmp_path / "nowhere")
    with pytest.raises(BundleError, match="the bundle folder does not exist"):
        promote(replace(gate.request("good", "poor"), incumbent=tmp_path / "nowhere"))
    golden, manifest = tmp_path / "golden", json.loads((tmp_path / "golden" / "manifest.json").read_text())
    (golden / "cases.jsonl").write_text("".join(case.model_dump_json() + "\n" for case in (*cases, *rest)))
    with pytest.raises(GoldenSetError, match="changed after its manifest"):
        gate("good", "poor")
    digest = digest_file(golden / "cases.jsonl")
    (golden / "manifest.json").write_text(json.dumps(manifest | {"digest": digest}))
    with pytest.raises(GoldenSetError, match="split test has 0 cases and no violation among them"):
        gate("good", "poor")
    assert gate.lines() == gate.events == gate.opened == []


def test_test_cases_that_a_search_has_seen_are_refused(gate):
    case = GOLDEN.split(Split.TEST)[3]
    pinned = ParityCase(id="p", text=case.text, answers={DIRECT.questions[0]: 0.9}, score=0.9, label="violation")
    prompt = make_bundle("good").prompts[0]
    quoting = prompt.model_copy(
        update={"segments": (PromptSegment(role="system", text=f"good, as in: {case.text}"), *prompt.segments[1:])}
    )
    says = f"1 of the 100 test cases are known to the bundle's search, {case.id} first"

    for bundle in (make_bundle("good", parity=(pinned,)), make_bundle("good", prompts=(quoting,))):
        with pytest.raises(BundleError, match=says):
            gate(bundle, "poor")
        with pytest.raises(BundleError, match=says):
            gate("poor", bundle)
    assert gate.lines() == gate.events == []


def test_a_record_that_cannot_be_written_keeps_the_test_sealed(gate, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be recorded \(.*\), so the test stays sealed; set --runs-dir"):
        gate("good", "poor", runs_dir=tmp_path / "file")
    assert gate.events == []


def test_no_text_is_in_the_result(gate):
    written = gate("good", "silent").model_dump_json()
    assert not [case.id for case in GOLDEN.cases if case.text in written]
    assert Path(json.loads(written)["record"]) == gate.record
