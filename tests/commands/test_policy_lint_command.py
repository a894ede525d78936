"""``promptopt policy lint``."""

from __future__ import annotations

from pathlib import Path

import pytest

POLICIES = Path(__file__).resolve().parents[2] / "data" / "policies"
VIOLENCE = POLICIES / "violence.yaml"
DEFINITION = "    definition: The author states they will use violence"
EXCLUDES = "    excludes: [medical images, safety inquiries]\n"


@pytest.fixture
def faulty(tmp_path):
    """The violence policy with a vague word (a warning) and a clause without excludes (an error)."""
    text = VIOLENCE.read_text(encoding="utf-8")
    path = tmp_path / "faulty.yaml"
    text = text.replace(DEFINITION, DEFINITION.replace("states", "usually states")).replace(EXCLUDES, "")
    path.write_text(text, encoding="utf-8")
    return path


def _line(path, begins):
    lines = path.read_text(encoding="utf-8").split("\n")
    return 1 + next(number for number, said in enumerate(lines) if said.startswith(begins))


def test_lints_every_shipped_policy_unless_told_otherwise(ok, in_tmp_path):
    shipped = sorted(POLICIES.glob("*.yaml"))
    said = ok("policy", "lint", "--json").json
    assert [Path(name).name for name in said["policies"]] == [path.name for path in shipped]
    assert (said["passed"], said["findings"]) == (True, [])
    assert ok("policy", "lint", POLICIES).out == f"{len(shipped)} policies, no findings\n"
    assert ok("policy", "lint", VIOLENCE, VIOLENCE).out == "1 policy, no findings\n"


def test_prints_each_finding_with_line_reason_and_remedy(call, faulty):
    called = call("policy", "lint", faulty, VIOLENCE, columns=40)
    assert called.code == 1
    vague, _, missing, remedy, total = called.out.splitlines()
    line = _line(faulty, "    definition: The author usually")
    assert vague == f"{faulty}:{line}: warning PL301 V1 definition: 'usually' leaves the decision to the reader"
    assert missing == f"{faulty}:{_line(faulty, '  - id: V7')}: error PL202 V7 excludes: the clause has no excludes"
    assert remedy.startswith("    name two or three kinds of text")
    assert total == "2 policies, 2 findings: 1 error, 1 warning"
    assert called.err == ""


def test_json_has_the_whole_of_every_finding(call, faulty):
    called = call("policy", "lint", faulty, "--json")
    assert called.code == 1
    said = called.json
    assert (said["passed"], said["min_level"]) == (False, "warning")
    assert said["counts"] == {"error": 1, "warning": 1, "note": 0}
    first, second = said["findings"]
    assert first == {
        "file": str(faulty),
        "line": _line(faulty, "    definition: The author usually"),
        "code": "PL301",
        "level": "warning",
        "clause": "V1",
        "place": "V1 definition",
        "reason": "'usually' leaves the decision to the reader",
        "remedy": "say when, how many or which, or leave the word out",
    }
    assert second["clause"] == "V7"


def test_findings_below_the_level_are_not_shown(call, ok, faulty):
    called = call("policy", "lint", faulty, "--min-level", "error")
    assert called.code == 1
    assert "PL301" not in called.out
    assert called.out.endswith("1 policy, 1 finding: 1 error; not shown: 1 warning\n")
    passed = ok("policy", "lint", faulty, "--min-level", "error", "--ignore", "PL202")
    assert passed.out == "1 policy, no findings; not shown: 1 warning\n"


def test_a_file_that_cannot_be_read_does_not_hide_the_others(call, faulty, tmp_path):
    (tmp_path / "broken.yaml").write_text("title: [open\n")
    called = call("policy", "lint", tmp_path)
    assert called.code == 1
    assert f"{tmp_path / 'broken.yaml'}:2: error PL000 file: not valid YAML" in called.out
    assert "PL202" in called.out


def test_compares_ids_with_the_former_version(call, tmp_path):
    text = VIOLENCE.read_text(encoding="utf-8")
    path = tmp_path / "newer.yaml"
    words = "The author shares, describes or seeks gore in order to shock, disgust, thrill or amuse."
    assert words in text
    path.write_text(text.replace(words, "The author sells knives.").replace("Gore for shock", "Knife sales"), "utf-8")
    called = call("policy", "lint", path, "--previous", VIOLENCE, "--json")
    (reused,) = (f for f in called.json["findings"] if f["code"] == "PL511")
    assert (reused["clause"], reused["line"]) == ("V7", _line(path, "  - id: V7"))


def test_limits_can_be_set(call):
    assert "PL321" in call("policy", "lint", VIOLENCE, "--budget", "100").out
    assert "PL323" in call("policy", "lint", VIOLENCE, "--max-grade", "3").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no.yaml"], "no.yaml: the file does not exist; check the path."),
        (["."], "the folder holds no .yaml file; name policy files."),
        (["--min-level", "loud"], "--min-level: there is no level 'loud'; choose from error, warning, note."),
        (["--ignore", "PL999"], "--ignore: there is no rule 'PL999'; choose from PL000 to PL512"),
        ([VIOLENCE, VIOLENCE.with_name("abuse.yaml"), "--previous", VIOLENCE], "--previous: it is the former version"),
        ([VIOLENCE.with_name("abuse.yaml"), "--previous", VIOLENCE], "is about violence, not abuse"),
    ],
)
def test_refuses_what_it_cannot_follow(refused, in_tmp_path, arguments, says):
    assert says in refused("policy", "lint", *arguments)
