"""``promptopt verbalizer fit``."""

from __future__ import annotations

import json

import pytest

SHORT = ("judge=fake", "program.policies=[summary]", "program.seed.policy=summary")


@pytest.fixture
def ask(tmp_path):
    target = tmp_path / "priors" / "abuse.json"
    settings = ("--cases", 40, f"runs_dir={tmp_path}", *SHORT)
    return target, ("verbalizer", "fit", "--domains", "sexual,self_harm", "--out", target, *settings)


def test_it_writes_a_file_and_says_what_is_in_it(ok, ask):
    target, command = ask
    shown = ok(*command).out
    written = json.loads(target.read_text(encoding="utf-8"))
    assert [source["domain"] for source in written["sources"]] == ["sexual", "self_harm"]
    best = max(written["weights"], key=written["weights"].get)
    assert f"speaks for a violation: {best}, " in shown
    assert "program.panel.prior=" in shown
    assert ok(*command, "--force", "--json").json == {"out": str(target), "prior": written}


def test_a_file_that_is_there_is_kept(ok, refused, ask):
    target, command = ask
    target.parent.mkdir()
    target.write_text("mine", encoding="utf-8")
    assert "--force" in refused(*command)
    assert target.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("domains", ["sexual,sexual", ",", "nothing"])
def test_domains_have_to_be_different_and_known(refused, tmp_path, domains):
    said = refused("verbalizer", "fit", "--domains", domains, "--out", tmp_path / "p.json", *SHORT)
    assert "domain" in said
    assert not (tmp_path / "p.json").exists()
