"""Golden cases with parts: read, written, compared with each other by their words, refused where they do not fit."""

from __future__ import annotations

import json

import pytest

from promptopt.core.content import PartedText
from promptopt.errors import GoldenSetError
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.importers import IMPORTERS
from promptopt.golden.importers.options import ImportOptions
from promptopt.golden.leakage import merge_near_duplicate_groups, near_duplicates_across_splits
from promptopt.golden.reader import read_cases
from promptopt.golden.writer import format_cases

PHOTO = {"kind": "image", "reference": "sha256:0f3a", "media_type": "image/png"}


@pytest.fixture
def make_parts(make_case):
    """A case with parts; what else there is, ``make_case`` says."""

    def make(number, violation, parts, **other):
        data = make_case(number, violation, **other).model_dump(exclude={"text"})
        return type(make_case(number, violation)).model_validate({**data, "parts": parts})

    return make


def test_cases_with_parts_are_read_as_they_are_written(make_parts, make_case, tmp_path):
    cases = (
        make_parts(1, True, {"body": "some words\nand more", "title": "A title", "photo": PHOTO}),
        make_case(2, False),
    )
    path = tmp_path / "cases.jsonl"
    path.write_text(format_cases(cases), encoding="utf-8")

    first, second = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    assert "text" not in first
    assert first["parts"] == {"title": "A title", "body": "some words\nand more", "photo": PHOTO}
    assert list(second)[:3] == ["id", "text", "label"]
    assert "parts" not in second
    read = read_cases(path)
    assert read == cases
    assert isinstance(read[0].item, PartedText)
    assert read[1].item == read[1].text


def test_parts_are_content_of_the_set(make_parts):
    def digest(parts):
        return GoldenSet(name="n", domain="d", cases=(make_parts(1, True, parts),)).digest

    assert digest({"title": "a", "body": "b"}) == digest({"body": "b", "title": "a"})
    assert len({digest({"title": "a", "body": "b"}), digest({"title": "b", "body": "a"}), digest({"title": "a"})}) == 3


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"parts": {"title": " "}}, "text is empty"),
        ({"text": "a", "parts": {"title": "b"}}, "the case has `text` and `parts`; give one of the two"),
        ({"parts": {"title": "half \ud83d"}}, "holds half of a surrogate pair"),
        ({"parts": {"Secret words": "b"}}, "is no name for a part"),
        ({"parts": {"title": ["Secret words"]}}, "part `title` holds list"),
        ({}, "key `text` is missing"),
    ],
)
def test_faults_name_the_line_and_show_no_text(content, says, tmp_path):
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps({"id": "a", "label": "allowed", "group": "g", **content}) + "\n", encoding="utf-8")

    with pytest.raises(GoldenSetError, match=says) as refused:
        read_cases(path)
    assert str(refused.value).startswith(f"{path}:1: ")
    assert "Secret words" not in str(refused.value).replace("'Secret words' is no name for a part", "")


def test_one_content_with_two_labels_is_refused(make_parts, tmp_path):
    parts = {"title": "a", "body": "b"}
    path = tmp_path / "cases.jsonl"
    path.write_text(format_cases([make_parts(1, True, parts), make_parts(2, False, parts)]), encoding="utf-8")

    with pytest.raises(GoldenSetError, match="has the same text and is labelled violation"):
        read_cases(path)


def test_the_same_words_in_other_parts_are_near_duplicates(make_parts, make_case, words):
    text = words(1)
    head, tail = text[: len(text) // 2], text[len(text) // 2 :]
    cases = [
        make_parts(1, True, {"title": head, "body": tail}, split="search"),
        make_parts(2, True, {"comments": text}, split="test"),
        make_case(3, True, text=text, split="calibration"),
        make_parts(4, False, {"title": words(7), "body": words(8)}, split="test"),
        make_parts(5, False, {"title": words(9), "body": words(10)}, split="search"),
    ]

    pairs = {frozenset(pair[:2]) for pair in near_duplicates_across_splits(cases)}
    assert pairs == {frozenset(pair) for pair in (("c001", "c002"), ("c001", "c003"), ("c002", "c003"))}
    groups = [case.group for case in merge_near_duplicate_groups(cases)]
    assert groups == ["g001", "g001", "g001", "g004", "g005"]


def test_json_lines_with_parts_are_imported(write_lines):
    path = write_lines({"parts": {"title": "a", "body": "b"}, "label": 1}, {"text": "c", "label": 0})

    first, second = IMPORTERS["jsonl"].read(path, ImportOptions()).cases

    assert (first.text, first.parts) == ("Title: a\nBody: b", {"title": "a", "body": "b"})
    assert (second.text, second.parts) == ("c", None)


def test_a_table_without_parts_still_needs_its_text(write_lines):
    path = write_lines({"parts": "12", "label": 1})

    with pytest.raises(GoldenSetError, match="column `text` is missing"):
        IMPORTERS["jsonl"].read(path, ImportOptions())
