"""``promptopt policy sop``."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from promptopt.policy.reader import read_policy

POLICIES = Path(__file__).resolve().parents[2] / "data" / "policies"
VIOLENCE = POLICIES / "violence.yaml"


def _newer(tmp_path):
    text = VIOLENCE.read_text(encoding="utf-8")
    path = tmp_path / "newer.yaml"
    version = read_policy(VIOLENCE).version
    text = text.replace(f"\nversion: {version}\n", "\nversion: 9.0.0\n", 1)
    path.write_text(text.replace("severity: 2", "severity: 3", 1), encoding="utf-8")
    return path


def test_writes_the_procedure_and_the_labelling_configuration(ok, tmp_path):
    folder = tmp_path / "new" / "sop"
    called = ok("policy", "sop", VIOLENCE, "--out", folder, columns=300)
    assert sorted(p.name for p in folder.iterdir()) == ["label_studio.xml", "sop.html", "sop.md"]
    assert "21 steps, 9 endings" in called.out
    assert str(folder / "sop.html") in called.out
    assert ElementTree.parse(folder / "label_studio.xml").getroot().tag == "View"
    assert (folder / "sop.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert (folder / "sop.md").read_text(encoding="utf-8").startswith("# Standard operating procedure: Violence")


def test_the_same_policy_gives_the_same_bytes(ok, tmp_path):
    for name in ("one", "two"):
        ok("policy", "sop", VIOLENCE, "--out", tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_lists_what_changed_since_the_former_version(ok, tmp_path):
    newer = _newer(tmp_path)
    said = ok("policy", "sop", newer, "--out", tmp_path / "sop", "--previous", VIOLENCE, "--json").json
    assert said["changes"] == [{"where": "V7", "what": "Severity: 3; before: 2", "weight": "record", "clauses": ["V7"]}]
    assert (said["domain"], said["version"], said["steps"]) == ("violence", "9.0.0", 21)
    for name in ("sop.md", "sop.html"):
        text = (tmp_path / "sop" / name).read_text(encoding="utf-8")
        assert f"Since version {read_policy(VIOLENCE).version}" in text
        assert "Severity: 3; before: 2" in text
    printed = ok("policy", "sop", newer, "--out", tmp_path / "sop", "--previous", VIOLENCE).out
    assert f"1 change since version {read_policy(VIOLENCE).version}" in printed


def test_prints_no_example(ok, tmp_path):
    called = ok("policy", "sop", VIOLENCE, "--out", tmp_path / "sop")
    assert "my cousins" in (tmp_path / "sop" / "sop.md").read_text(encoding="utf-8")
    assert "my cousins" not in called.out + called.err


def test_refuses_what_it_cannot_follow(refused, tmp_path):
    folder = tmp_path / "sop"
    assert "about abuse, not violence" in refused(
        "policy", "sop", VIOLENCE, "--out", folder, "--previous", POLICIES / "abuse.yaml"
    )
    assert not folder.exists()
    assert "does not exist" in refused("policy", "sop", tmp_path / "no.yaml", "--out", folder)
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused("policy", "sop", VIOLENCE, "--out", tmp_path / "file")
