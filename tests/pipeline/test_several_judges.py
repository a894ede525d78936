"""A sweep over judges and prompts together."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from contextlib import closing

import pytest

from promptopt.bundle.files import read_bundle
from promptopt.bundle.runtime import BundleJudge
from promptopt.errors import ConfigError, StudyMismatchError
from promptopt.judges.config import JudgeConfig
from promptopt.judges.factory import open_engine
from promptopt.pipeline.summary import read_summary
from promptopt.testing.tiny_model import save_tiny_model

SHORT = ("program.policies=[none,summary]", "program.seed.policy=summary")  # a tiny model reads 1,024 tokens
CHEAPEST = ("search.objective.names=[auprc,seconds]", "search.racing.lockstep.field=8", "search.budget.trials=8")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Overrides that name a tiny model as a further judge beside the fake one, in two number formats."""
    model = save_tiny_model(tmp_path_factory.mktemp("models") / "tiny")
    entries = [
        f"{{judge: smollm2_135m, name: tiny-{d}, model: '{model}', dtype: {d}}}" for d in ("float32", "bfloat16")
    ]
    return f"judges=[{','.join(entries)}]"


@pytest.fixture(scope="module")
def searched(sweep, tiny, tmp_path_factory):
    return sweep(
        tmp_path_factory.mktemp("several"), tiny, *SHORT, "search.budget.trials=12", "search.winner.seed_alpha=null"
    )


def test_every_judge_is_tried_and_each_score_is_kept_under_its_own(searched):
    rows = [json.loads(line) for line in (searched.folder / "trials.jsonl").read_text().splitlines()]

    tried = Counter(row["judge"] for row in rows)
    assert set(tried) == {"fake", "tiny-float32", "tiny-bfloat16"}
    assert rows[0]["judge"] == "fake", "the seed prompt has the judge that the configuration names first"
    with closing(sqlite3.connect(searched.folder.parent / "scores.db")) as store:
        fingerprints = {row[0] for row in store.execute("select distinct engine from judged_prompts")}
    assert len(fingerprints) == 3


def test_the_bundle_has_the_winner_s_judge_and_gives_its_verdicts(searched):
    winner, bundle = read_summary(searched.folder).winner, read_bundle(searched.folder / "bundle")

    assert bundle.judge["name"] == winner.choices["judge"] == read_summary(searched.folder).judge
    engine = open_engine(JudgeConfig.model_validate(bundle.judge))
    report = BundleJudge(bundle, engine).verify()
    engine.close()
    assert report.engine_matches
    assert report.passed


def test_a_sweep_goes_on_with_the_same_judges_only(sweep, searched, tiny):
    runs, calls = searched.folder.parent, len(searched.display.calls)
    again = sweep(runs, tiny, *SHORT, "search.budget.trials=12", "search.winner.seed_alpha=null")
    assert (calls > 0, again.display.calls) == (True, [])

    with pytest.raises(StudyMismatchError, match=r"further judges \(was [0-9a-f]{10}…, is None\)"):
        sweep(runs, *SHORT, "search.budget.trials=12", "search.winner.seed_alpha=null")


def test_seconds_are_those_of_the_candidate_s_own_judge(sweep, tiny, tmp_path):
    done = sweep(tmp_path, tiny, *SHORT, *CHEAPEST)

    assert [phase for phase in done.display.phases if phase.startswith("timing")] == [
        "timing fake", "timing tiny-float32", "timing tiny-bfloat16",
    ]  # fmt: skip
    seconds = {}
    for record in done.outcome.result.ranked:
        seconds.setdefault(record.candidate.choices["judge"], []).append(record.metrics["seconds_per_case"])
    assert len(seconds) > 1
    assert max(seconds.pop("fake")) < min(min(own) for own in seconds.values())


def test_two_names_for_one_judge_are_refused(sweep, tmp_path):
    with pytest.raises(ConfigError, match=r"the judges .fake. and .twin. are one and the same: .*leave one out"):
        sweep(tmp_path, "judges=[{judge: fake, name: twin}]")
