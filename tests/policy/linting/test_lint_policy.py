"""A lint takes any file: what cannot be read is one finding, what can be read is checked as far as it goes."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt.errors import PolicyError
from promptopt.policy.linting.finding import Level
from promptopt.policy.linting.options import LintOptions
from promptopt.policy.linting.registry import rules_table
from promptopt.policy.linting.run import lint_policy
from promptopt.policy.reader import read_policy

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def _codes(report):
    return [finding.code for finding in report.findings]


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (b"title: x\ndomain: caf\xe9\n", 2, "is not UTF-8"),
        (BOMB.encode(), 2, "aliases are not allowed"),
        (b"a: " + b"[" * 2000, 1, "nested too deeply"),
        (b'schema_version: 1\ntitle: "open\n', 3, "not valid YAML"),
        (b"schema_version: 1\n\tdomain: x\n", 2, "not valid YAML"),
        (b"schema_version: 1\ndomain: x\nschema_version: 1\n", 3, "`schema_version` stands twice"),
        (b"", 1, "found nothing"),
        (b"- a\n- b\n", 1, "found list"),
        (b"# Our policy\n\nNo threats. Be kind: always.\n\n" * 20_000, 1, "more than 524288, which line"),
    ],
    ids=["encoding", "bomb", "depth", "quote", "tab", "key twice", "empty", "list", "200 pages"],
)
def test_a_file_that_cannot_be_read_is_one_finding(tmp_path, content, line, says):
    path = tmp_path / "policy.yaml"
    path.write_bytes(content)
    (finding,) = lint_policy(path).findings
    assert (finding.code, finding.level, finding.line, finding.clause) == ("PL000", Level.ERROR, line, None)
    assert says in finding.reason
    assert finding.remedy


def test_a_file_that_is_not_there_is_refused(tmp_path):
    for path in (tmp_path / "no.yaml", tmp_path):
        with pytest.raises(PolicyError, match="does not exist"):
            lint_policy(path)


def test_faults_of_every_kind_are_listed_at_once(write_policy):
    def bend(data):
        del data["clauses"][0]["severity"]
        data["clauses"][1]["excludes"] = []
        data["clauses"][2]["definition"] = "It is usually bad."
        data["precedence"].append("V9")
        data["routing"].insert(1, {"id": "R1b", "when": {"any": ["V2"]}, "then": "allowed"})
        data["boundary_examples"][0]["label"] = "perhaps"

    path = write_policy(bend)
    lines = path.read_text().split("\n")
    report = lint_policy(path)
    assert set(_codes(report)) >= {"PL002", "PL202", "PL301", "PL102", "PL109", "PL004"}
    assert [f.line for f in report.findings] == sorted(f.line for f in report.findings)
    (missing,) = (f for f in report.findings if f.code == "PL002")
    assert (missing.clause, missing.place, lines[missing.line - 1]) == ("V1", "V1 severity", "- id: V1")
    (vague,) = (f for f in report.findings if f.code == "PL301")
    assert (vague.clause, lines[vague.line - 1].strip()) == ("V3", "definition: It is usually bad.")


def test_a_policy_where_nothing_violates(write_policy):
    def bend(data):
        data["precedence"] = []
        for clause in data["clauses"]:
            clause |= {"severity": 0, "action": "allow", "exceptions": [], "zero_tolerance": False}

    assert "PL107" in _codes(lint_policy(write_policy(bend)))


def _with_clauses(data, clause, number):
    """The policy with more violating clauses, all cited by the first rule."""
    more = [f"V{n}" for n in range(10, 10 + number)]
    data["clauses"] += [clause(name, 4) for name in more]
    data["precedence"] = [*more, *data["precedence"]]
    data["routing"][0]["when"] = {"any": ["V2", *more]}


@pytest.mark.parametrize("number", [2, 20])
def test_rules_that_never_decide_are_found_however_many_clauses_there_are(write_policy, clause, number):
    def bend(data):
        _with_clauses(data, clause, number)
        data["routing"][1:1] = [
            {"id": "wider", "when": {"all": ["V11"], "none": ["V4"]}, "then": "violation"},
            {"id": "never", "when": {"any": ["V3"], "none": ["V3", "V4"]}, "then": "violation"},
            {"id": "fine", "when": {"all": ["V1", "V3"], "none": ["V4"]}, "then": "escalate"},
        ]

    report = lint_policy(write_policy(bend))
    assert [f.place for f in report.findings if f.code == "PL108"] == ["rule wider", "rule never"]
    assert ("PL210" in _codes(report)) == (number == 20)


def test_a_policy_in_another_language_is_not_checked_for_english_words(write_policy):
    def bend(data):
        data["language"] = "de"
        data["clauses"][0]["question"] = "Droht der Text often?"

    report = lint_policy(write_policy(bend))
    (note,) = (f for f in report.findings if f.level is Level.NOTE)
    assert (note.code, note.reason) == ("PL390", "the policy is in 'de'")
    assert not {"PL301", "PL311", "PL323"} & set(_codes(report))


def test_rules_can_be_left_out_and_limits_set(write_policy):
    path = write_policy(lambda data: data["clauses"][0].update(definition="It is usually bad."))
    assert "PL301" in _codes(lint_policy(path))
    assert "PL301" not in _codes(lint_policy(path, LintOptions(ignore=frozenset({"PL301"}))))
    assert "PL321" in _codes(lint_policy(path, LintOptions(budget=5)))
    assert "PL323" in _codes(lint_policy(path, LintOptions(max_grade=-5.0)))


def test_templates_may_change_without_a_new_version(write_policy, policy):
    template = {"clause": "V1", "text": "{who} will pay.", "slots": {"who": ["You"]}}
    path = write_policy(lambda data: data.update(templates=[template]))
    assert not {"PL511", "PL512"} & set(_codes(lint_policy(path, LintOptions(previous=policy))))


def test_an_id_keeps_its_meaning_when_its_words_are_improved(write_policy, policy):
    def improve(data):
        data["version"] = "1.1.0"
        data["clauses"][0]["definition"] = "The definition of V1, in better words."

    def reuse(data):
        data["version"] = "1.1.0"
        data["clauses"][0] |= {"title": "Stolen cars", "definition": "The author sells a vehicle."}

    assert "PL511" not in _codes(lint_policy(write_policy(improve), LintOptions(previous=policy)))
    found = lint_policy(write_policy(reuse), LintOptions(previous=policy))
    assert [(f.code, f.clause) for f in found.findings if f.code == "PL511"] == [("PL511", "V1")]


def test_a_document_of_forty_pages_is_told_to_shrink(write_policy, clause):
    report = lint_policy(write_policy(lambda data: _with_clauses(data, clause, 300)))
    assert {"PL210", "PL321"} <= set(_codes(report))


JUNK = st.sampled_from(
    [None, True, 0, -1, 7.5, "", "V1", "V9", "?", [], [None], [[]], ["V1", "V1"], {}, {"id": "V1"}, {3: 4}]
)


def _places(value, place=()):
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _places(item, (*place, key))


@settings(max_examples=60, deadline=None)  # each example writes and reads a file
@given(chance=st.data())
def test_any_mapping_can_be_linted_and_what_the_reader_refuses_is_an_error(chance, tmp_path_factory, plain):
    bent = copy.deepcopy(plain)
    for _ in range(chance.draw(st.integers(1, 3))):
        *above, key = chance.draw(st.sampled_from([place for place in _places(bent) if place]))
        parent = bent
        for step in above:
            parent = parent[step]
        if chance.draw(st.booleans()):
            parent[key] = copy.deepcopy(chance.draw(JUNK))
        elif len(parent) > 1:
            del parent[key]
    path = tmp_path_factory.mktemp("bent") / "policy.yaml"
    path.write_text(yaml.safe_dump(bent, sort_keys=False), encoding="utf-8")
    report = lint_policy(path)
    lines = path.read_text(encoding="utf-8").count("\n")
    assert all(1 <= finding.line <= lines for finding in report.findings)
    try:
        read_policy(path)
    except PolicyError:
        assert report.counts[Level.ERROR] > 0


@pytest.fixture(scope="module")
def plain():
    """A policy with every part, as plain data."""
    rule = {"id": "R1", "when": {"any": ["V1"], "none": ["V2"]}, "then": "violation"}
    texts = {"definition": "What it is.", "question": "Does it apply?", "includes": ["in"], "excludes": ["out"]}
    return {
        "schema_version": 1,
        "domain": "demo",
        "title": "Demo",
        "version": "1.0.0",
        "language": "en",
        "purpose": "Shows how.",
        "question": "Does the text violate it?",
        "summary": "All in short.",
        "terms": [{"term": "word", "definition": "What is defined."}],
        "clauses": [
            {"id": "V1", "title": "One", "severity": 2, "exceptions": ["V2"], "action": "remove", **texts},
            {"id": "V2", "title": "Two", "severity": 0, "zero_tolerance": False, "action": "allow", **texts},
        ],
        "precedence": ["V1"],
        "routing": [rule, {"id": "R2", "when": {}, "then": "allowed"}],
        "boundary_examples": [{"text": "bad", "label": "violation", "clause": "V1", "why": "so"}],
        "templates": [{"clause": "V1", "text": "{a} b", "slots": {"a": ["x"]}, "controls": {"a": ["y"]}}],
        "changelog": [{"version": "1.0.0", "date": "2026-01-01", "change": "First."}],
    }


def test_the_page_lists_the_rules_as_they_are():
    page = (Path(__file__).resolve().parents[3] / "docs" / "lint.md").read_text(encoding="utf-8")
    assert page.endswith("\n## The rules\n\n" + rules_table())
