"""``promptopt judge``: tables in, the same tables with verdicts out."""

from __future__ import annotations

import csv
import json

import pytest

ADDED = {"label", "probability", "clause", "severity", "rule", "escalate", "truncated", "unjudged_reason"}


def _read(path):
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_table(path).to_pylist()
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _write(path, rows):
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.mark.parametrize("extension", ["jsonl", "csv", "parquet"])
def test_every_input_column_is_kept(ok, bundle, texts, tmp_path, extension):
    source, target = tmp_path / f"in.{extension}", tmp_path / f"out.{extension}"
    _write(source, _read(texts))

    ok("judge", "--bundle", bundle, "--in", source, "--out", target)

    before, after = _read(source), _read(target)
    added = {f"judge_{name}" for name in ADDED}
    assert [{key: row[key] for key in row if key not in added} for row in after] == before
    assert all(set(row) - set(before[0]) == added for row in after)
    labels = [row["judge_label"] or None for row in after]
    assert [label is None for label in labels] == [False, False, True, True, False]
    assert {label for label in labels if label} <= {"violation", "allowed"}


def test_an_empty_text_is_unjudged_and_never_allowed(ok, bundle, texts, tmp_path):
    called = ok("judge", "--bundle", bundle, "--in", texts, "--out", tmp_path / "out.jsonl")

    rows = _read(tmp_path / "out.jsonl")
    assert [row["judge_unjudged_reason"] for row in rows] == [None, None, "text is empty", "text is empty", None]
    assert all(row["judge_probability"] is None and row["judge_escalate"] is None for row in rows[2:4])
    assert all(row["judge_truncated"] is False for row in rows)
    assert "2 without a verdict" in called.out


def test_verdicts_are_the_same_whatever_the_format(ok, bundle, texts, tmp_path):
    ok("judge", "--bundle", bundle, "--in", texts, "--out", tmp_path / "a.jsonl")
    ok("judge", "--bundle", bundle, "--in", texts, "--out", tmp_path / "b.parquet")

    jsonl, parquet = _read(tmp_path / "a.jsonl"), _read(tmp_path / "b.parquet")
    for name in ADDED:
        assert [row[f"judge_{name}"] for row in jsonl] == [row[f"judge_{name}"] for row in parquet]


def test_columns_may_have_other_names(ok, bundle, tmp_path, write_rows):
    source = write_rows([{"body": "some words", "judge_label": "kept"}])

    ok(
        "judge",
        "--bundle",
        bundle,
        "--in",
        source,
        "--out",
        tmp_path / "o.jsonl",
        "--text-column",
        "body",
        "--prefix=v_",
    )

    (row,) = _read(tmp_path / "o.jsonl")
    assert row["judge_label"] == "kept"
    assert row["v_label"] in ("violation", "allowed")


def test_output_that_exists_is_replaced_on_request_only(ok, refused, bundle, texts, tmp_path):
    target = tmp_path / "out.jsonl"
    target.write_text("precious")

    sentence = refused("judge", "--bundle", bundle, "--in", texts, "--out", target)
    assert f"{target}: the output file exists" in sentence
    assert target.read_text() == "precious"

    ok("judge", "--bundle", bundle, "--in", texts, "--out", target, "--force")
    assert len(_read(target)) == 5


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (['{"text": "a"}', '{"text": "b"'], "rows.jsonl:2: not valid JSON"),
        (['{"text": "a"}', "[1]"], "rows.jsonl:2: expected an object, found list"),
        (['{"text": "a"}', '{"body": "b"}'], "rows.jsonl:2: there is no column `text` (columns: body)"),
        (['{"text": 7}'], "rows.jsonl:1: column `text` holds int, not text"),
        (['{"text": "a", "judge_label": 1}'], "already has columns that verdicts would take: judge_label"),
    ],
)
def test_a_bad_table_is_refused_before_the_judge_is_loaded(
    refused, bundle, write_rows, tmp_path, monkeypatch, lines, says
):
    monkeypatch.setattr("promptopt.commands.judge.open_bundle_engine", lambda *_: pytest.fail("the judge was loaded"))
    source = write_rows(lines)

    assert says in refused("judge", "--bundle", bundle, "--in", source, "--out", tmp_path / "out.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("missing.jsonl", "out.jsonl", "missing.jsonl: the file does not exist"),
        ("texts.jsonl", "out.xls", "the extension '.xls' is not that of a known format"),
        ("texts.jsonl", "texts.jsonl", "the output is the input file"),
        ("texts.jsonl", "nowhere/out.jsonl", "the folder of the output does not exist"),
    ],
)
def test_files_that_do_not_fit(refused, bundle, texts, tmp_path, source, target, says):
    before = texts.read_bytes()

    assert says in refused("judge", "--bundle", bundle, "--in", tmp_path / source, "--out", tmp_path / target)
    assert [path.name for path in tmp_path.iterdir()] == ["texts.jsonl"]
    assert texts.read_bytes() == before


def test_another_judge_than_the_measured_one_is_refused_unless_it_is_wanted(
    ok, refused, bundle, texts, tmp_path, monkeypatch
):
    from promptopt.engines.fake import FakeEngine

    monkeypatch.setattr("promptopt.commands.judge.open_bundle_engine", lambda *_: FakeEngine(seed=1))
    command = ["judge", "--bundle", bundle, "--in", texts, "--out", tmp_path / "out.jsonl"]

    assert "the bundle was measured on another judge (weights_digest" in refused(*command)
    assert [path.name for path in tmp_path.iterdir()] == ["texts.jsonl"]
    ok(*command, "--any-judge")
    assert len(_read(tmp_path / "out.jsonl")) == 5
