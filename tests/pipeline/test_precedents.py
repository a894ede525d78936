"""Precedents: decided cases that prompts show, and that measure nothing."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from promptopt.bundle.files import read_bundle
from promptopt.config import load_config, resolve_path
from promptopt.core.case import Split
from promptopt.errors import ConfigError, GoldenSetError, StudyMismatchError
from promptopt.golden.reader import read_golden_set
from promptopt.pipeline.precedents import read_precedents
from promptopt.policy.reader import read_policy

SHOWN = ("program.demos.choices=[precedents]", "search.budget.trials=4")
DECIDED = (
    {"id": "ruling-1", "text": "Somebody ought to hurt the whole committee.", "label": "violation", "severity": 2},
    {"id": "ruling-2", "text": "The council was scolded in a long editorial.", "label": "allowed", "severity": 0},
)


@pytest.fixture
def write(tmp_path):
    """Writes precedents, some of their keys replaced, and returns the override that names the file."""

    def make(name="precedents.jsonl", **changes):
        rows = [{"group": row["id"], **row, **changes.get(row["id"].replace("-", "_"), {})} for row in DECIDED]
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return f"program.demos.precedents={path}"

    return make


def _read(*overrides):
    config = load_config(["domain=violence", "program=direct", *overrides])
    golden = read_golden_set(resolve_path(config.golden.path))
    return read_precedents(config, read_policy(resolve_path(config.domain.policy)), golden)


def test_prompts_show_precedents_and_the_bundle_ships_them(sweep, write, tmp_path):
    finished = sweep(tmp_path / "runs", write(), *SHOWN, "tracking=mlflow")
    rows = [json.loads(line) for line in (finished.folder / "trials.jsonl").read_text().splitlines()]
    assert {tuple(sorted(row["demos"].split())) for row in rows} == {("ruling-1", "ruling-2")}
    (prompt,) = read_bundle(finished.folder / "bundle").prompts
    texts = [message["content"] for message in prompt.messages("ITEM")]
    assert all(any(row["text"] in text for text in texts) for row in DECIDED)

    with closing(sqlite3.connect(finished.folder.parent / "mlflow.db")) as store:
        logged = "\n".join(store.iterdump())
    assert "[case ruling-1]" in logged
    assert not [row["id"] for row in DECIDED if row["text"] in logged], "run logs name precedents and do not quote them"


def test_a_study_is_not_resumed_with_other_precedents(sweep, write, tmp_path):
    sweep(tmp_path / "runs", write(), *SHOWN)
    sweep(tmp_path / "runs", write("moved.jsonl"), *SHOWN)  # what they say is the same
    with pytest.raises(StudyMismatchError, match="another precedents"):
        sweep(tmp_path / "runs", write(ruling_2={"text": "The council was praised in a short note."}), *SHOWN)


def test_a_space_without_precedents_reads_no_file():
    assert _read() == ()


def test_what_says_nearly_the_same_as_a_golden_case_is_refused(write):
    golden = read_golden_set(resolve_path("data/golden/violence"))
    known = golden.split(Split.TEST)[0]
    with pytest.raises(GoldenSetError, match=rf"precedent ruling-2 .*case {known.id} of the golden set's test split"):
        _read(write(ruling_2={"text": f" {known.text.upper()} "}), *SHOWN)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ruling_1": {"id": "boundary-1"}}, "precedent boundary-1 has the id"),
        ({"ruling_1": {"clause": "Z9"}}, "cites clause Z9"),
        ({"ruling_1": {"label": "maybe"}}, "label"),
    ],
)
def test_what_does_not_fit_the_policy_is_refused(write, changes, said):
    with pytest.raises(GoldenSetError, match=said):
        _read(write(**changes), *SHOWN)


def test_an_id_of_the_golden_set_is_refused(write):
    taken = read_golden_set(resolve_path("data/golden/violence")).cases[0].id
    with pytest.raises(GoldenSetError, match=f"precedent {taken} has the id"):
        _read(write(ruling_1={"id": taken}), *SHOWN)


def test_a_missing_file_is_named():
    with pytest.raises(GoldenSetError, match=r"absent\.jsonl"):
        _read("program.demos.precedents=absent.jsonl", *SHOWN)


def test_choice_and_file_go_together(write):
    for overrides in (SHOWN, (write(),)):
        with pytest.raises(ConfigError, match=r"`precedents` is .*name a file of decided cases"):
            load_config(["program=direct", *overrides])


def test_precedents_too_long_to_be_shown_are_refused(sweep, write, tmp_path):
    with pytest.raises(ConfigError, match=r"none of 2 precedents can be shown.*max_chars"):
        sweep(tmp_path / "runs", write(), "program.demos.max_chars=5", *SHOWN)
