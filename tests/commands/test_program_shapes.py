"""From a sweep over one program shape to its bundle, and from there to verdicts on a table."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from promptopt.bundle.files import read_bundle
from promptopt.policy.procedure import Shape

OWN = {
    "graded": ["program.grade_scores=[expected_severity]"],
}


@pytest.fixture(scope="module", params=sorted(set(get_args(Shape)) - {"direct", "checklist"}))
def exported(request, ok, tmp_path_factory):
    """A shape and the bundle of a small sweep over programs of it."""
    shape = request.param
    runs = tmp_path_factory.mktemp(shape)
    settings = [
        "judge=fake",
        "experiment=quickstart",
        "domain=violence",
        "search.budget.trials=3",
        "search.finalists=1",
    ]
    chosen = [f"program.shapes=[{shape}]", f"program.seed.shape={shape}", *OWN.get(shape, [])]
    ok("sweep", *settings, *chosen, f"runs_dir={runs}", "name=one", "tracking=none")
    return shape, runs / "one" / "bundle"


def test_its_bundle_judges_a_table_and_verifies(ok, exported, texts, tmp_path):
    shape, bundle = exported
    assert read_bundle(bundle).procedure.shape == shape
    assert ok("bundle", "verify", bundle).out.endswith("verified\n")

    ok("judge", "--bundle", bundle, "--in", texts, "--out", tmp_path / "out.jsonl")
    ok("judge", "--bundle", bundle, "--in", texts, "--out", tmp_path / "again.jsonl")

    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["judge_label"] is None for row in rows] == [False, False, True, True, False]
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "again.jsonl").read_bytes()
    severities = {row["judge_severity"] for row in rows if row["judge_label"] == "violation"}
    one_question = shape in {"reasoned", "verbalized"}  # which tells nothing of how severe it is
    assert severities <= ({None} if one_question else {1, 2, 3, 4})
    assert {row["judge_clause"] for row in rows} == {None}


def test_one_space_holds_every_shape(ok, tmp_path):
    shapes = ",".join(get_args(Shape))
    settings = [
        "judge=fake",
        "experiment=quickstart",
        "domain=violence",
        "search.budget.trials=8",
        "search.finalists=1",
    ]

    ok("sweep", *settings, f"program.shapes=[{shapes}]", f"runs_dir={tmp_path}", "name=all", "tracking=none", "seed=1")
    summary = json.loads((tmp_path / "all" / "summary.json").read_text(encoding="utf-8"))
    assert summary["candidates"] >= 8


def test_a_verbalized_bundle_says_which_words_it_is_read_off(ok, exported):
    shape, bundle = exported
    shown = ok("bundle", "show", bundle).out
    assert ("words; weightiest for a violation" in shown) == (shape == "verbalized")
    assert "Toxic /" not in shown
