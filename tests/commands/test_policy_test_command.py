"""``promptopt policy test`` on a bundle whose judge is the fake one."""

from __future__ import annotations

import json
from pathlib import Path

VIOLENCE = Path(__file__).resolve().parents[2] / "data" / "policies" / "violence.yaml"


def test_reports_by_function_worst_first(ok, bundle, tmp_path):
    said = ok("policy", "test", VIOLENCE, "--bundle", bundle, "--json").json
    results = said["functions"]
    assert sum(result["cases"] for result in results) == said["overall"]["cases"] >= 40
    points = [result["accuracy"]["point"] for result in results]
    assert points == sorted(points)
    assert said["same_policy"] is said["passed"] is True
    assert all(r["accuracy"]["low"] <= r["accuracy"]["point"] <= r["accuracy"]["high"] for r in results)


def test_made_cases_and_written_cases_are_judged_alike(ok, bundle, tmp_path):
    ok("policy", "cases", VIOLENCE, "--out", tmp_path / "cases.jsonl")
    written = ok("policy", "test", VIOLENCE, "--bundle", bundle, "--cases", tmp_path / "cases.jsonl", "--json")
    assert written.json == ok("policy", "test", VIOLENCE, "--bundle", bundle, "--json").json


def test_minimum_accuracy_decides_the_exit_code(call, bundle):
    assert call("policy", "test", VIOLENCE, "--bundle", bundle, "--min-accuracy", 0).code == 0
    called = call("policy", "test", VIOLENCE, "--bundle", bundle, "--min-accuracy", 1)
    assert called.code == 1
    assert "NOT reached" in called.out


def test_texts_are_printed_only_when_asked_for(ok, bundle, tmp_path):
    ok("policy", "cases", VIOLENCE, "--out", tmp_path / "cases.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "cases.jsonl").read_text(encoding="utf-8").splitlines()]
    reports = [tmp_path / "report.md", tmp_path / "report.html"]
    for report in reports:
        called = ok("policy", "test", VIOLENCE, "--bundle", bundle, "--out", report)
        assert "obfuscation:leetspeak" in called.out
        shown = called.out + report.read_text(encoding="utf-8")
        assert "obfuscation:leetspeak" in report.read_text(encoding="utf-8")
        assert not any(row["text"] in shown for row in rows)
    failed = ok("policy", "test", VIOLENCE, "--bundle", bundle, "--texts", "--json").json
    assert set(failed["texts"]) == set(failed["overall"]["failed"])


def test_hatecheck_goes_by_functionality(ok, bundle, tmp_path):
    path = tmp_path / "all_cases.csv"
    path.write_text(
        "functionality,case_id,test_case,label_gold,templ_id,ref_templ_id\n"
        "threat_dir_h,1,some text,hateful,1,1\nident_neutral_nh,2,other text,non-hateful,2,2\n",
        encoding="utf-8",
    )
    said = ok("policy", "test", VIOLENCE, "--bundle", bundle, "--hatecheck", path, "--json").json
    assert {r["function"] for r in said["functions"]} == {"threat_dir_h", "ident_neutral_nh"}


def test_mistakes_are_refused(refused, bundle, tmp_path):
    ask = ("policy", "test", VIOLENCE, "--bundle", bundle)
    assert "given twice" in refused(*ask, "--cases", "a", "--hatecheck", "b")
    assert "is no report" in refused(*ask, "--out", tmp_path / "report.txt")
    assert "does not exist" in refused(*ask, "--cases", tmp_path / "no.jsonl")
