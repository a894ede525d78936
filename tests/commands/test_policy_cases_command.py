"""``promptopt policy cases``."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

POLICIES = Path(__file__).resolve().parents[2] / "data" / "policies"
VIOLENCE = POLICIES / "violence.yaml"


def test_writes_cases_and_counts_them(ok, tmp_path):
    target = tmp_path / "new" / "cases.jsonl"
    said = ok("policy", "cases", VIOLENCE, "--out", target, "--json").json
    rows = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert said["cases"] == len(rows)
    assert said["functions"] == Counter(row["function"] for row in rows)
    assert said["violations"] == sum(row["label"] == "violation" for row in rows)
    assert said["clauses_without_case"] == []


def test_clauses_without_a_case_are_named(ok, tmp_path):
    text = VIOLENCE.read_text(encoding="utf-8")
    bare = text[: text.index("templates:")] + text[text.index("changelog:") :]
    (tmp_path / "bare.yaml").write_text(bare, encoding="utf-8")
    said = ok("policy", "cases", tmp_path / "bare.yaml", "--out", tmp_path / "cases.jsonl", "--json").json
    assert said["clauses_without_case"] == ["V4", "V6"]


def test_the_same_seed_writes_the_same_bytes(ok, tmp_path):
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    for path, seed in ((one, 1), (two, 1), (other, 2)):
        ok("policy", "cases", VIOLENCE, "--out", path, "--seed", seed)
    assert one.read_bytes() == two.read_bytes() != other.read_bytes()


def test_a_limit_holds_and_no_text_is_printed(ok, tmp_path):
    called = ok("policy", "cases", VIOLENCE, "--out", tmp_path / "cases.jsonl", "--limit", 12)
    rows = [json.loads(line) for line in (tmp_path / "cases.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 12
    assert "12 cases" in called.out
    assert not any(row["text"] in called.out for row in rows)


def test_a_policy_without_examples_is_refused(refused, tmp_path):
    text = VIOLENCE.read_text(encoding="utf-8")
    bare = text[: text.index("boundary_examples:")] + text[text.index("changelog:") :]
    (tmp_path / "bare.yaml").write_text(bare, encoding="utf-8")
    sentence = refused("policy", "cases", tmp_path / "bare.yaml", "--out", tmp_path / "cases.jsonl")
    assert "no boundary examples and no templates" in sentence
    assert not (tmp_path / "cases.jsonl").exists()
    assert "does not exist" in refused("policy", "cases", tmp_path / "no.yaml", "--out", tmp_path / "cases.jsonl")
