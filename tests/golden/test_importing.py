"""An import is admitted, reported and written whole; importing again changes nothing."""

from __future__ import annotations

import pytest

from promptopt.errors import ConfigError, GoldenSetError
from promptopt.golden.importing import import_golden
from promptopt.golden.leakage import near_duplicates_across_splits
from promptopt.golden.reader import read_golden_set, read_manifest


@pytest.fixture
def source(words, write_lines):
    rows = [{"id": f"r{n}", "text": words(n), "label": n % 2} for n in range(60)]
    extra = [
        {"id": "again", "text": words(0), "label": 0},
        {"id": "yes", "text": "disputed words", "label": 1},
        {"id": "no", "text": "disputed words", "label": 0},
        {"id": "long", "text": words(99, 40), "label": 1},
        {"id": "blank", "text": "x", "label": None},
    ]
    return write_lines(*rows, *extra, name="source.jsonl")


@pytest.fixture
def run(source, tmp_path):
    def run(format="jsonl", **changes):
        arguments = {"domain": "toy", "name": "toy set", "options": {"max_chars": 200}} | changes
        path = arguments.pop("source", source)
        return import_golden(format, path, arguments.pop("destination", tmp_path / "out"), **arguments)

    return run


def test_the_report_counts_everything_once(run, tmp_path):
    report = run()
    assert report.cases == 60
    assert report.left_out == {
        "no label": 1,
        "text repeated": 1,
        "same text with both labels": 2,
        "longer than 200 characters": 1,
    }
    assert report.cases + sum(report.left_out.values()) == 65
    assert sum(report.splits.values()) == 60
    golden = read_golden_set(tmp_path / "out")
    assert golden.digest == report.digest
    assert (golden.name, golden.domain) == ("toy set", "toy")


def test_near_duplicates_share_a_split(words, run, write_lines, tmp_path):
    rows = [{"text": f"{words(n // 4)} {n}", "label": n // 4 % 2} for n in range(80)]
    report = run(source=write_lines(*rows, name="twins.jsonl"))
    assert (report.groups, report.largest_group) == (20, 4)
    assert near_duplicates_across_splits(read_golden_set(tmp_path / "out").cases) == ()


def test_a_limit_is_counted(run):
    report = run(options={"limit": 40})
    assert report.cases == 40
    assert report.left_out["beyond the limit of 40"] == 22 - 1


def test_importing_again_changes_nothing_and_another_set_is_not_overwritten(run, tmp_path):
    first = run()
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()}
    assert run() == first
    assert {p.name: p.stat().st_mtime_ns for p in (tmp_path / "out").iterdir()} == before
    with pytest.raises(GoldenSetError, match="holds another golden set"):
        run(options={"limit": 40})
    assert read_golden_set(tmp_path / "out").digest == first.digest
    assert run(options={"limit": 40}, overwrite=True).cases == 40


@pytest.mark.parametrize(
    ("changes", "error", "expected"),
    [
        (
            {"format": "xml"},
            ConfigError,
            "unknown format `xml`; known formats: jsonl, csv, openai-moderation, hatecheck",
        ),
        ({"domain": "To Y"}, ConfigError, "`To Y` is not a domain name"),
        ({"name": " "}, ConfigError, "the name is empty"),
        ({"options": {"category": "S"}}, ConfigError, "format jsonl takes no option `category`; it takes clause"),
        ({"options": {"positive_values": ["x"]}}, GoldenSetError, "none of the .* cases is a violation"),
        ({"options": {"limit": 4}}, GoldenSetError, "no violation among them"),
    ],
)
def test_what_cannot_be_imported_is_one_sentence_and_writes_nothing(run, tmp_path, changes, error, expected):
    with pytest.raises(error, match=expected):
        run(**changes)
    assert not (tmp_path / "out").exists()


def test_missing_source_and_a_file_as_destination(run, source, tmp_path):
    with pytest.raises(GoldenSetError, match="does not exist"):
        run(source=tmp_path / "none.jsonl")
    with pytest.raises(GoldenSetError, match="the destination is a file"):
        run(destination=source)


def test_the_manifest_knows_the_licence_of_known_formats(run, datasets, tmp_path):
    source = datasets / "openai-moderation" / "dev.jsonl"
    report = run("openai-moderation", source=source, options={"category": "H"})
    assert (report.cases, report.left_out) == (354, {"category H unknown": 422})
    assert read_manifest(tmp_path / "out").licence == "MIT"
