"""Every fault of a cases file is one sentence with file, line, key and value, and never the text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptopt.core.case import CaseKind, GoldenCase, Label, Split
from promptopt.errors import GoldenSetError
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.manifest import Provenance
from promptopt.golden.reader import read_cases, read_golden_set
from promptopt.golden.splits import assign_splits
from promptopt.golden.writer import format_cases, write_golden_set

CHARACTERS = st.characters(exclude_categories=["Cs"])
CASES = st.builds(
    GoldenCase,
    id=st.text(CHARACTERS, min_size=1),
    text=st.text(CHARACTERS, min_size=1).filter(str.strip),
    language=st.sampled_from(["en", "de"]),
    label=st.just(Label.VIOLATION),
    clause=st.none() | st.just("X1"),
    severity=st.integers(1, 4),
    group=st.text(CHARACTERS, min_size=1),
    kind=st.sampled_from(CaseKind),
    pair=st.none() | st.text(CHARACTERS),
    split=st.none() | st.sampled_from(Split),
)


@given(cases=st.lists(CASES, min_size=1, max_size=5, unique_by=lambda case: case.id))
def test_what_is_written_is_read_back(tmp_path_factory, cases):
    path = tmp_path_factory.mktemp("cases") / "cases.jsonl"
    path.write_text(format_cases(cases), encoding="utf-8", newline="")
    assert read_cases(path) == tuple(cases)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"label": "bad"}, ["`label`", "'bad'", "'violation' or 'allowed'"]),
        ({"text": "   "}, ["`text`", "empty"]),
        ({"text": ...}, ["key `text` is missing"]),
        ({"group": ...}, ["key `group` is missing"]),
        ({"severity": 7}, ["`severity`", "7"]),
        ({"severity": 0}, ["case a", "violation", "severity 0"]),
        ({"label": "allowed"}, ["case a", "allowed", "severity 2"]),
        ({"colour": "red"}, ["unknown key `colour`"]),
        ({"split": "train"}, ["`split`", "'train'"]),
        ({"id": ""}, ["`id`"]),
        ({"id": 5}, ["`id`", "5"]),
    ],
)
def test_a_bad_value_names_file_line_and_key(write_lines, row, changes, expected):
    path = write_lines(row(id="first"), "", row(**changes))
    with pytest.raises(GoldenSetError) as error:
        read_cases(path)
    assert str(error.value).startswith(f"{path}:3: ")
    assert all(part in str(error.value) for part in expected)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"id": "a", "text": "secret words"', "not valid JSON"),
        ('["a"]', "expected a JSON object, found list"),
        ('{"id": "a", "id": "b", "text": "secret words"}', "key `id` stands twice"),
        ("[" * 100_000, "not usable JSON"),
        ('{"id": ' + "9" * 5000 + "}", "not usable JSON"),
        (
            '{"id": "a", "text": "secret words \\ud800", "label": "allowed", "group": "g"}',
            "`text` holds half of a surrogate pair",
        ),
    ],
)
def test_a_malformed_line_names_its_place_and_not_its_text(write_lines, row, line, expected):
    path = write_lines(row(id="first"), line)
    with pytest.raises(GoldenSetError, match=expected) as error:
        read_cases(path)
    assert f"{path}:2" in str(error.value)
    assert "secret" not in str(error.value)


def test_bytes_that_are_not_utf8_name_their_line(tmp_path, row):
    path = tmp_path / "cases.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row()).encode() + b"\n" + "caf\xe9".encode("latin-1") + b"\n")
    with pytest.raises(GoldenSetError, match=r"cases\.jsonl:2: byte 0xe9 is not UTF-8"):
        read_cases(path)


def test_a_byte_order_mark_and_line_separators_inside_texts_are_fine(tmp_path, row):
    path = tmp_path / "cases.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row(text="one\u2028two"), ensure_ascii=False).encode() + b"\r\n")
    assert read_cases(path)[0].text == "one\u2028two"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "stands already on line 1"),
        ({"text": "other"}, "has another text on line 1"),
        ({"label": "allowed", "severity": 0, "clause": None}, "labelled allowed here and violation on line 1"),
        ({"group": "h"}, "stands with other values on line 1"),
        (
            {"id": "b", "label": "allowed", "severity": 0},
            "case a on line 1 has the same text and is labelled violation",
        ),
    ],
)
def test_repeated_ids_and_contradictions_name_both_lines(write_lines, row, changes, expected):
    path = write_lines(row(), row(**changes))
    with pytest.raises(GoldenSetError, match=expected) as error:
        read_cases(path)
    assert f"{path}:2" in str(error.value)
    assert "some text" not in str(error.value)


def test_missing_and_empty_files_are_said(tmp_path, write_lines):
    with pytest.raises(GoldenSetError, match="does not exist"):
        read_cases(tmp_path / "none.jsonl")
    with pytest.raises(GoldenSetError, match="holds no case"):
        read_cases(write_lines(""))


@pytest.fixture
def admitted(tmp_path, toy_cases):
    golden = GoldenSet(name="toy", domain="toy", cases=assign_splits(toy_cases))
    write_golden_set(tmp_path / "toy", golden, Provenance())
    return tmp_path / "toy", golden


def test_an_admitted_set_is_read_back(admitted):
    folder, golden = admitted
    assert read_golden_set(folder) == golden


def test_a_changed_cases_file_is_refused_with_the_way_out(admitted):
    folder, _ = admitted
    path = folder / "cases.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"severity": 2', b'"severity": 3', 1))
    with pytest.raises(GoldenSetError, match=r"changed after its manifest was written.*build_golden\.py toy"):
        read_golden_set(folder)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), "no manifest"),
        (lambda folder: (folder / "cases.jsonl").unlink(), "no cases"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json: "),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "key `name` is missing|`licence`|missing"),
        (lambda folder: folder.rename(folder.with_name("elsewhere")), "folder does not exist"),
    ],
)
def test_a_damaged_folder_is_one_sentence(admitted, damage, expected):
    folder, _ = admitted
    damage(folder)
    with pytest.raises(GoldenSetError, match=expected):
        read_golden_set(folder)
