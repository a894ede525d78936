"""``promptopt policy schema``."""

from __future__ import annotations

from promptopt.policy.schema import policy_schema_text


def test_prints_the_schema_and_nothing_else(ok):
    called = ok("policy", "schema")
    assert called.out == policy_schema_text()
    assert called.json["type"] == "object"


def test_writes_it_and_says_how_an_editor_finds_it(ok, tmp_path):
    target = tmp_path / "new" / "policy.schema.json"
    said = ok("policy", "schema", "--output", target).out
    assert target.read_text(encoding="utf-8") == policy_schema_text()
    assert f"# yaml-language-server: $schema={target.as_uri()}" in said
    facts = ok("policy", "schema", "--output", target, "--json").json
    assert facts == {"schema": "urn:promptopt:policy:1", "file": str(target)}


def test_a_place_that_cannot_be_written_is_refused(refused, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused("policy", "schema", "--output", tmp_path / "file" / "x.json")
