"""A domain that was added by data files alone goes the whole way: policy, sweep, bundle, functional tests, judging."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOMAIN = "regulated_goods"
POLICY = ROOT / "data" / "policies" / f"{DOMAIN}.yaml"
SMALL = ("judge=fake", "experiment=quickstart", "tracking=none", "search.budget.trials=3", "search.finalists=1")


@pytest.fixture(scope="module")
def sweep(ok, tmp_path_factory):
    """What a small sweep says, and its bundle."""
    runs = tmp_path_factory.mktemp("runs")
    said = ok("sweep", *SMALL, f"domain={DOMAIN}", f"runs_dir={runs}", "name=added", "--json").json
    return said, runs / "added" / "bundle"


@pytest.fixture(scope="module")
def clauses():
    """Ids of the clauses that the file lists."""
    lines = POLICY.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("  - id: ") for line in lines if line.startswith("  - id: ")]


def test_the_sweep_reports_on_the_sealed_test_of_the_domain(sweep):
    said, _ = sweep
    sealed = [json.loads(line) for line in (ROOT / "data" / "golden" / DOMAIN / "cases.jsonl").open(encoding="utf-8")]
    assert said["domain"] == DOMAIN
    assert said["winner"]["reports"]["test"]["cases"] == sum(case["split"] == "test" for case in sealed)


def test_the_bundle_verifies_and_judges_texts(ok, sweep, clauses, tmp_path):
    _, bundle = sweep
    ok("bundle", "verify", bundle)
    texts = ["Two grams going spare, inbox me.", "The court fined the dealer on Monday.", "Bus 31 is late again."]
    source = tmp_path / "texts.jsonl"
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
    ok("judge", "--bundle", bundle, "--in", source, "--out", tmp_path / "judged.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "judged.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["text"] for row in rows] == texts
    assert all(0 <= row["judge_probability"] <= 1 for row in rows)
    assert all(row["judge_clause"] is None or row["judge_clause"] in clauses for row in rows)


def test_the_policy_is_shown_and_made_into_a_procedure_and_cases(ok, clauses, tmp_path):
    shown = ok("policy", "show", POLICY, "--json").json
    assert {step["clause"] for step in shown["steps"]} == set(clauses)
    ok("policy", "sop", POLICY, "--out", tmp_path / "sop")
    procedure = (tmp_path / "sop" / "sop.md").read_text(encoding="utf-8")
    assert all(clause in procedure for clause in clauses)
    made = ok("policy", "cases", POLICY, "--out", tmp_path / "cases.jsonl", "--json").json
    assert made["clauses_without_case"] == []


def test_functional_tests_run_on_the_bundle(ok, sweep):
    said = ok("policy", "test", POLICY, "--bundle", sweep[1], "--json").json
    assert said["same_policy"] is True
    assert said["overall"]["cases"] >= 100
