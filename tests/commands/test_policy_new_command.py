"""``promptopt policy new``."""

from __future__ import annotations

import pytest

from promptopt.policy.linting.checks.wording import FILL_IN

GUIDE = "# Trade\n\nTrade safely.\n\n## Weapons\n\nNobody may offer firearms.\n\n## Museums\n\nMay show them.\n"


@pytest.fixture
def guide(in_tmp_path):
    path = in_tmp_path / "guide.md"
    path.write_text(GUIDE, encoding="utf-8")
    return path


def test_lays_out_a_policy_and_says_what_is_left(ok, call, guide):
    called = ok("policy", "new", guide, "--domain", "scams")
    assert "scams.yaml: 2 clauses laid out from" in called.out
    assert "no language model drafted anything" in called.out
    text = (guide.parent / "scams.yaml").read_text(encoding="utf-8")
    left = sum(FILL_IN in line for line in text.splitlines())
    assert f"{left} places left to you" in called.out
    assert str(guide.parent) not in text
    linted = call("policy", "lint", "scams.yaml", "--json")
    assert linted.code == 1
    assert sum(finding["code"] == "PL303" for finding in linted.json["findings"]) == left


def test_json_says_the_same(ok, guide):
    facts = ok("policy", "new", guide, "--domain", "scams", "--output", "new/p.yaml", "--language", "de", "--json").json
    assert (facts["policy"], facts["domain"], facts["clauses"]) == ("new/p.yaml", "scams", 2)
    assert (facts["author"], facts["drafted"], facts["notes"]) == (None, 0, [])
    text = (guide.parent / "new" / "p.yaml").read_text(encoding="utf-8")
    assert facts["left"] == sum(FILL_IN in line for line in text.splitlines())
    assert "language: de" in text


def test_what_a_language_model_cannot_draft_is_left_to_the_author(ok, guide):
    called = ok("policy", "new", guide, "--domain", "scams", "--judge", "fake", "--json")
    assert called.json["author"] == "fake"
    assert len(called.json["notes"]) == 2
    assert "fake drafts 2 clauses" in called.err
    said = ok("policy", "new", guide, "--domain", "scams", "--judge", "fake", "--force").out
    assert "of 10 parts" in said
    assert "SC1: " in said


def test_too_many_clauses_for_a_checklist_are_said(ok, guide):
    guide.write_text("".join(f"# Rule {'abcdefghijklmno'[i]}\n\nText.\n\n" for i in range(15)), encoding="utf-8")
    assert "a checklist takes at most 14 clauses" in ok("policy", "new", guide, "--domain", "scams").out


def test_a_file_that_is_there_is_not_replaced_unless_it_has_to_be(ok, refused, guide):
    ok("policy", "new", guide, "--domain", "scams")
    policy = guide.parent / "scams.yaml"
    policy.write_text("mine", encoding="utf-8")
    assert "scams.yaml: the file is already there; name another --output, or replace it with --force." in refused(
        "policy", "new", guide, "--domain", "scams"
    )
    assert policy.read_text(encoding="utf-8") == "mine"
    ok("policy", "new", guide, "--domain", "scams", "--force")
    assert policy.read_text(encoding="utf-8") != "mine"
    assert "would replace the document" in refused(
        "policy", "new", guide, "--domain", "scams", "--output", guide, "--force"
    )
    assert guide.read_text(encoding="utf-8") == GUIDE


def test_refuses_what_it_cannot_lay_out(refused, guide):
    assert "'Bad Name' is no name of a domain" in refused("policy", "new", guide, "--domain", "Bad Name")
    assert "does not exist" in refused("policy", "new", "no.md", "--domain", "scams")
    assert "there is no judge 'nobody'" in refused("policy", "new", guide, "--domain", "scams", "--judge", "nobody")
    assert "--set" in refused("policy", "new", guide, "--domain", "scams", "--set", "judge.model=x")
    guide.write_bytes(b"# A\n\xff")
    assert "guide.md:2: byte 4 is not UTF-8" in refused("policy", "new", guide, "--domain", "scams")
    guide.write_text("prose only", encoding="utf-8")
    assert "no headings" in refused("policy", "new", guide, "--domain", "scams")
    assert not (guide.parent / "scams.yaml").exists()
