"""With ``--json`` every command prints one JSON document on standard output and nothing else there."""

from __future__ import annotations

import json

import pytest


def test_sweep(ok, tmp_path):
    overrides = ["judge=fake", "experiment=quickstart", "tracking=none", "search.budget.trials=1"]
    called = ok("sweep", "--json", *overrides, f"runs_dir={tmp_path}", "name=json")

    assert called.json["name"] == "json"
    assert called.json["winner"]["candidate"] == called.json["seed_prompt"]["candidate"]
    assert called.json == json.loads((tmp_path / "json" / "summary.json").read_text(encoding="utf-8"))
    assert "writing bundle" in called.err  # progress has a place of its own


def test_judge(ok, bundle, texts, tmp_path):
    called = ok("judge", "--json", "--bundle", bundle, "--in", texts, "--out", tmp_path / "judged.jsonl")

    assert called.json["rows"] == 5
    assert called.json["unjudged"] == 2
    assert called.json["violations"] + called.json["allowed"] == 3
    assert called.json["out"] == str(tmp_path / "judged.jsonl")


def test_compare(ok, runs):
    called = ok("compare", "one", "a-sweep-with-a-long-name-seed1", "--runs-dir", runs, "--json")

    assert [summary["name"] for summary in called.json] == ["one", "a-sweep-with-a-long-name-seed1"]


def test_bundle_verify(ok, bundle):
    report = ok("bundle", "verify", bundle, "--json").json

    assert report["passed"] is True
    assert report["largest_difference"] == 0.0
    assert len(report["cases"]) == 24


def test_bundle_show_leaves_texts_out_unless_asked(ok, bundle):
    shown = ok("bundle", "show", bundle, "--json").json
    whole = ok("bundle", "show", bundle, "--json", "--prompt").json

    assert shown["domain"] == "violence"
    assert set(whole) - set(shown) == {"parity", "prompts", "policy_source"}


def test_golden_import(ok, write_rows, labelled, tmp_path):
    source = write_rows(labelled)
    called = ok("golden", "import", source, tmp_path / "set", "--format", "jsonl", "--domain", "toy", "--json")

    assert called.json["cases"] == 60
    assert called.json["labels"] == {"violation": 30, "allowed": 30}
    assert sum(called.json["splits"].values()) == 60


def test_golden_show(ok, imported):
    shown = ok("golden", "show", imported, "--json").json

    assert shown["cases"] == 60
    assert set(shown["splits"]) == {"search", "calibration", "test"}


def test_models(ok, tmp_path, monkeypatch):
    folder = tmp_path / "models" / "smollm2-135m"
    folder.mkdir(parents=True)
    for name in ("source.json", "model.safetensors"):
        (folder / name).write_text("{}")
    monkeypatch.setenv("PROMPTOPT_CACHE", str(tmp_path))

    assert ok("models", "pull", "smollm2-135m", "--json").json == {"model": "smollm2-135m", "folder": str(folder)}
    (row,) = ok("models", "list", "--json").json
    assert row["ready"] is True
    assert row["folder"] == str(folder)
    assert row["size_bytes"] == 4


def test_config_show(ok):
    shown = ok("config", "show", "judge=fake", "seed=3", "--json").json

    assert shown["config"]["seed"] == 3
    assert shown["config"]["judge"]["engine"] == "fake"
    assert "smollm2_135m" in shown["groups"]["judge"]


@pytest.mark.parametrize(
    "command",
    [
        ["sweep", "--json", "nonsense=1"],
        ["judge", "--json", "--bundle", "nowhere", "--in", "a.csv", "--out", "b.csv"],
        ["compare", "--json", "nowhere"],
        ["bundle", "verify", "--json", "nowhere"],
        ["bundle", "show", "--json", "nowhere"],
        ["golden", "import", "--json", "nowhere", "set", "--format", "csv", "--domain", "toy"],
        ["golden", "show", "--json", "nowhere"],
        ["models", "pull", "--json", "nothing"],
        ["config", "show", "--json", "nonsense=1"],
    ],
    ids=lambda command: " ".join(command[:2]),
)
def test_a_command_that_is_refused_prints_no_part_of_a_document(refused, in_tmp_path, command):
    refused(*command)

    assert list(in_tmp_path.iterdir()) == []
