"""``promptopt policy diff``."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptopt.golden.reader import read_golden_set

DATA = Path(__file__).resolve().parents[2] / "data"
POLICIES, GOLDEN = DATA / "policies", DATA / "golden"
VIOLENCE = POLICIES / "violence.yaml"


@pytest.fixture
def newer(tmp_path):
    """Violence with a lost exception, a graver V7, and a V2 that means something else."""
    text = VIOLENCE.read_text(encoding="utf-8")
    for before, after in (
        ("{any: [V1], none: [V8, V9, V10, V11]}", "{any: [V1], none: [V8, V9, V10]}"),
        ("title: Gore for shock\n    severity: 2", "title: Gore for shock\n    severity: 3"),
        ("title: Incitement to violence", "title: Stalking"),
        ("The author urges or hopes for others to use violence on a real person or group.", "Follows somebody unseen."),
    ):
        assert text.count(before) == 1
        text = text.replace(before, after)
    first = text.index("exceptions: [V8, V9, V10, V11]")
    text = text[:first] + text[first:].replace("exceptions: [V8, V9, V10, V11]", "exceptions: [V8, V9, V10]", 1)
    version = next(line for line in text.splitlines() if line.startswith("version:"))
    path = tmp_path / "newer.yaml"
    path.write_text(text.replace(version, "version: 9.0.0"), encoding="utf-8")
    return path


def test_says_what_differs_and_what_has_to_be_read_again(ok, newer, bundle):
    called = ok(
        "policy", "diff", VIOLENCE, newer, "--golden", GOLDEN / "violence", "--bundles", bundle.parents[1], columns=160
    )
    said = called.out
    assert "to 9.0.0" in said
    assert "V2 was “Incitement to violence” and is “Stalking”" in said
    assert "give the new clause an id that was never used" in said
    assert "V1 and V11 (by R5, now by R2)" in said
    assert "cite V2, which means something else" in said
    assert "Bundles: " in said
    golden = read_golden_set(GOLDEN / "violence")
    assert not any(case.text in said for case in golden.cases)


def test_json_names_the_cases(ok, newer):
    facts = ok("policy", "diff", VIOLENCE, newer, "--golden", GOLDEN / "violence", "--json").json
    golden = read_golden_set(GOLDEN / "violence")
    by_reason = {(t["where"], t["reason"]): set(t["cases"]) for t in facts["cases"]["touched"]}
    assert by_reason["V2", "cites"] == {c.id for c in golden.cases if c.clause == "V2"}
    assert by_reason["V7", "record"] == {c.id for c in golden.cases if c.clause == "V7"}
    assert by_reason["Routing", "outcome"] == {c.id for c in golden.cases if c.clause == "V11"}
    again = set(facts["cases"]["reannotate"])
    assert again >= by_reason["V2", "cites"] | by_reason["Routing", "outcome"]
    assert set(facts["cases"]["update"]) == by_reason["V7", "record"] - again
    assert facts["routing"]["transitions"][0]["smallest"][0]["clauses"] == ["V1", "V11"]
    assert {change["where"] for change in facts["changes"]} == {"V1", "V2", "V7", "R2"}
    assert [found["clause"] for found in facts["reused"]] == ["V2"]


def test_prints_a_report_in_markdown(ok, newer):
    said = ok("policy", "diff", VIOLENCE, newer, "--golden", GOLDEN / "violence", "--markdown").out
    for heading in ("# Violence", "## Ids that were used before", "## Changes", "## Routing", "## Labelled cases"):
        assert heading in said
    rows = [line for line in said.splitlines() if line.startswith("| V")]
    assert rows
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)


def test_a_policy_does_not_differ_from_itself(ok):
    called = ok("policy", "diff", VIOLENCE, VIOLENCE, "--golden", GOLDEN / "violence")
    assert "no difference in what they say" in called.out
    assert "to read again: 0 of" in called.out
    assert "raise the version" not in called.out


def test_one_version_for_two_policies_is_said(ok, newer):
    version = next(line for line in VIOLENCE.read_text(encoding="utf-8").splitlines() if line.startswith("version:"))
    newer.write_text(newer.read_text(encoding="utf-8").replace("version: 9.0.0", version), encoding="utf-8")
    assert "raise the version" in ok("policy", "diff", VIOLENCE, newer).out


def test_refuses_what_cannot_be_compared(refused, newer, tmp_path):
    assert "about abuse, not violence" in refused("policy", "diff", POLICIES / "abuse.yaml", newer)
    assert "of domain abuse, the policies of violence" in refused(
        "policy", "diff", VIOLENCE, newer, "--golden", GOLDEN / "abuse"
    )
    assert "does not exist" in refused("policy", "diff", VIOLENCE, tmp_path / "no.yaml")
    assert "holds no bundle" in refused("policy", "diff", VIOLENCE, newer, "--bundles", tmp_path)
    assert "--markdown" in refused("policy", "diff", VIOLENCE, newer, "--markdown", "--json")
