"""Judging tables: every input column survives, every fault has its line, nothing is half-written."""

from __future__ import annotations

import csv
import json
import math
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt.bundle.runtime import BundleJudge
from promptopt.bundle.table_readers import TableError
from promptopt.bundle.table_writers import CsvWriter, JsonlWriter, ParquetWriter
from promptopt.bundle.tables import VERDICT_COLUMNS, TableOptions, TableTally, format_of, judge_table
from promptopt.core.case import Label
from promptopt.core.verdict import Verdict

APPENDED = [f"judge_{name}" for name in VERDICT_COLUMNS]
EMPTY = Verdict.unjudged("text is empty")


def judge_length(texts):
    """Long texts are violations; the probability is exact, so that files can be compared."""
    return [
        Verdict(
            label=Label.VIOLATION if len(text) > 8 else Label.ALLOWED,
            probability=1 - 2.0 ** -min(len(text), 50),
            clause="V1" if len(text) > 8 else None,
            severity=3 if len(text) > 8 else 0,
            rule="R1",
            escalate=len(text) > 12,
            truncated=len(text) > 16,
        )
        if text and text.strip()
        else EMPTY
        for text in texts
    ]


def _read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, strict=True))


def _read_jsonl(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def _write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_jsonl_keeps_its_bytes_and_gains_columns(tmp_path):
    lines = [
        '{"id": 1, "text": "short", "x": 1.10, "big": 123456789012345678901234567890}',
        '{ "text":"a text that is long" ,"n":{"a":[1,null]}, "e":"\\ud83d" }',
        '{"text": ""}',
        '{"text": null}',
    ]
    source = _write(tmp_path / "in.jsonl", "\ufeff" + lines[0] + "\r\n\n" + "\n".join(lines[1:]))
    tally = judge_table(judge_length, source, tmp_path / "out.jsonl")
    assert tally == TableTally(rows=4, violations=1, allowed=1, unjudged=2, escalated=1, truncated=1)
    written = (tmp_path / "out.jsonl").read_text().splitlines()
    assert written[0].startswith(lines[0][:-1] + ", ")
    assert written[1].startswith(lines[1][:-1].rstrip() + ", ")
    rows = _read_jsonl(tmp_path / "out.jsonl")
    assert list(rows[0])[4:] == APPENDED
    assert [rows[1][name] for name in APPENDED] == ["violation", 1 - 2.0**-19, "V1", 3, "R1", True, True, None]
    assert [rows[3][name] for name in APPENDED] == [None, None, None, None, None, None, False, "text is empty"]


def test_a_violation_without_a_clause_has_no_severity(tmp_path):
    source = _write(tmp_path / "in.jsonl", '{"text": "t"}\n')

    def judge(texts):
        return [Verdict(label=Label.VIOLATION, probability=0.9)] * len(texts)

    judge_table(judge, source, tmp_path / "out.jsonl")
    assert _read_jsonl(tmp_path / "out.jsonl")[0]["judge_severity"] is None


CELLS = st.text(st.sampled_from("a\",'\r\n\t\0 \u2028é") | st.characters(codec="utf-8"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=6), block=st.integers(1, 4), name=CELLS)
def test_csv_cells_survive(rows, block, name):
    name = f"c{name}"
    with TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.csv", Path(folder) / "out.csv"
        with source.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([(name, "text"), *rows])
        tally = judge_table(judge_length, source, target, TableOptions(block=block))
        found = _read_csv(target)
    assert tally.rows == len(rows)
    assert [(row[name], row["text"]) for row in found] == rows
    expected = judge_length([text for _, text in rows])
    assert [row["judge_label"] for row in found] == [v.label.value if v.label else "" for v in expected]
    assert [row["judge_probability"] for row in found] == [
        "" if v.label is None else repr(v.probability) for v in expected
    ]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | CELLS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(CELLS, inner, max_size=2),
    max_leaves=4,
)
RECORDS = st.lists(
    st.fixed_dictionaries({"text": st.none() | CELLS}, optional={"a": VALUES, "b": st.integers(), "ü\n": CELLS}),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(records=RECORDS, block=st.integers(1, 3))
def test_jsonl_values_survive_in_every_format(records, block):
    options = TableOptions(block=block)
    with TemporaryDirectory() as folder:
        source = _write(Path(folder) / "in.jsonl", "".join(json.dumps(record) + "\n" for record in records))
        for name in ("out.jsonl", "out.csv", "out.parquet"):
            judge_table(judge_length, source, Path(folder) / name, options)
        as_json = _read_jsonl(Path(folder) / "out.jsonl")
        as_csv = _read_csv(Path(folder) / "out.csv")
        as_parquet = pq.read_table(Path(folder) / "out.parquet").to_pylist()
    assert [{k: v for k, v in row.items() if k not in APPENDED} for row in as_json] == records
    assert [row["text"] for row in as_csv] == [record["text"] or "" for record in records]
    assert [row["text"] for row in as_parquet] == [record["text"] for record in records]
    for record, row in zip(records, as_parquet, strict=True):
        value = row.get("a")
        assert value == record.get("a") or json.loads(value) == record["a"]
    assert [row["judge_label"] for row in as_parquet] == [row["judge_label"] for row in as_json]


def test_parquet_keeps_types_and_metadata(tmp_path):
    table = pa.table(
        {
            "id": pa.array([1, 2, None], pa.int16()),
            "day": pa.array([date(2026, 1, 1)] * 3),
            "text": pa.array(["short", None, "a text that is long\nwith ‘lines’"], pa.large_string()),
            "tags": pa.array([["a"], [], None]),
            "city": pa.array(["x", "y", "x"]).dictionary_encode(),
            "raw": pa.array([b"\xff", None, b""]),
        }
    ).replace_schema_metadata({"origin": "test"})
    pq.write_table(table, tmp_path / "in.parquet")
    judge_table(judge_length, tmp_path / "in.parquet", tmp_path / "out.parquet", TableOptions(block=2))
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(table.column_names).to_pylist() == table.to_pylist()
    assert found.schema.field("id").type == pa.int16()
    assert found.schema.field("tags").type == table.schema.field("tags").type
    assert found.schema.metadata[b"origin"] == b"test"
    assert found.column_names == [*table.column_names, *APPENDED]
    assert found.column("judge_label").to_pylist() == ["allowed", None, "violation"]
    assert found.schema.field("judge_escalate").type == pa.bool_()


def test_parquet_goes_into_the_other_formats(tmp_path):
    table = pa.table(
        {"text": ["a"], "day": [date(2026, 1, 1)], "nan": [math.nan], "raw": [b"\xff"], "tags": [["é", None]]}
    )
    pq.write_table(table, tmp_path / "in.parquet")
    judge_table(judge_length, tmp_path / "in.parquet", tmp_path / "out.jsonl")
    judge_table(judge_length, tmp_path / "in.parquet", tmp_path / "out.csv")
    row = _read_jsonl(tmp_path / "out.jsonl")[0]
    assert [row[name] for name in table.column_names] == ["a", "2026-01-01", None, "/w==", ["é", None]]
    row = _read_csv(tmp_path / "out.csv")[0]
    assert [row[name] for name in table.column_names] == ["a", "2026-01-01", "nan", "/w==", '["é", null]']


def test_mixed_columns_keep_their_values_in_parquet(tmp_path):
    lines = [
        '{"text": "a", "i": 1, "f": 1, "b": true, "m": 1, "n": null, "l": 9007199254740993}',
        '{"text": "b", "f": 2.5, "m": "1", "late": [1], "l": 0.5}',
    ]
    source = _write(tmp_path / "in.jsonl", "\n".join(lines))
    judge_table(judge_length, source, tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    types = {name: str(found.schema.field(name).type) for name in ("i", "f", "b", "m", "n", "l")}
    assert types == {"i": "int64", "f": "double", "b": "bool", "m": "string", "n": "string", "l": "string"}
    assert found.column("m").to_pylist() == ["1", '"1"']
    assert found.column("l").to_pylist() == ["9007199254740993", "0.5"]
    assert found.column("late").to_pylist() == [None, "[1]"]


def test_half_a_surrogate_pair_is_written_out_where_utf8_cannot_carry_it(tmp_path):
    source = _write(tmp_path / "in.jsonl", '{"text": "a", "e": "x\\ud83d"}\n')
    judge_table(judge_length, source, tmp_path / "out.csv")
    judge_table(judge_length, source, tmp_path / "out.parquet")
    assert _read_csv(tmp_path / "out.csv")[0]["e"] == "x\\ud83d"
    assert pq.read_table(tmp_path / "out.parquet").column("e").to_pylist() == ["x\\ud83d"]


def test_a_bundle_judges_a_table_in_blocks(bundle, engine, tmp_path):
    source = _write(tmp_path / "in.csv", "id,body\n" + "".join(f'{i},"text, {i}\nmore"\n' for i in range(9)))
    seen = []
    tally = judge_table(
        BundleJudge(bundle, engine).judge,
        source,
        tmp_path / "out.jsonl",
        TableOptions(text_column="body", prefix="p_", block=4),
        progress=lambda done, rows: seen.append((done, rows)),
    )
    assert seen == [(4, 9), (8, 9), (9, 9)]
    assert tally.violations + tally.allowed == tally.rows == 9
    rows = _read_jsonl(tmp_path / "out.jsonl")
    expected = BundleJudge(bundle, engine).judge([row["body"] for row in rows])
    assert [row["p_clause"] for row in rows] == [verdict.clause for verdict in expected]


FAULTS = {
    "broken.jsonl": ('{"text": "a"}\n\n{"text": \n', r"broken\.jsonl:3: not valid JSON"),
    "list.jsonl": ('{"text": "a"}\n[1]\n', r"list\.jsonl:2: expected an object, found list"),
    "deep.jsonl": ('{"text": "a"}\n' + "[" * 200_000 + "\n", r"deep\.jsonl:2: not valid JSON"),
    "digits.jsonl": ('{"text": "a", "n": ' + "1" * 5000 + "}\n", r"digits\.jsonl:1: not valid JSON"),
    "no_text.jsonl": (
        '{"text": "a"}\n{"body": "b", "id": 1}\n',
        r"no_text\.jsonl:2: there is no column `text` \(columns: body, id\)",
    ),
    "number.jsonl": ('{"text": 3}\n', r"number\.jsonl:1: column `text` holds int, not text"),
    "clash.jsonl": ('{"text": "a", "judge_rule": 1}\n', r"already has columns that verdicts would take: judge_rule"),
    "latin.jsonl": (b'{"text": "a"}\n{"text": "\xe9"}\n', r"latin\.jsonl:2: byte 10 of the line is not UTF-8"),
    "cells.csv": ('id,text\n1,"a\nb"\n2,c,d\n', r"cells\.csv:4: 3 cells under 2 columns"),
    "quote.csv": ('text\nfine\n"a"b\n', r"quote\.csv:3: not valid CSV"),
    "open.csv": ('text\nfine\n"never closed\nmore\n', r"open\.csv:3: not valid CSV"),
    "no_text.csv": ("id,body\n1,a\n", r"no_text\.csv:1: there is no column `text` \(columns: id, body\)"),
    "twice.csv": ("text,id,id\n", r"twice\.csv:1: column names used twice: id"),
    "empty.csv": ("", r"empty\.csv: the file has no header line"),
    "clash.csv": ("text,judge_label\n", "already has columns that verdicts would take: judge_label"),
    "latin.csv": (b"text\na\n\xe9\n", r"latin\.csv:3: byte 0 of the line is not UTF-8"),
    "broken.parquet": ("not parquet at all", r"broken\.parquet: cannot be read as Parquet"),
    "table.xlsx": ("x", r"extension '\.xlsx' is not that of a known format \(\.jsonl, .*jsonl, csv, parquet"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_has_its_place_and_is_found_before_judging(name, tmp_path):
    content, message = FAULTS[name]
    source = _write(tmp_path / name, content)
    asked = []
    with pytest.raises(TableError, match=message):
        judge_table(asked.append, source, tmp_path / "out.jsonl")
    assert asked == []
    assert _names(tmp_path) == [name]


def test_parquet_columns_are_checked(tmp_path):
    pq.write_table(pa.table({"body": ["a"], "n": [1]}), tmp_path / "in.parquet")
    out = tmp_path / "out.parquet"
    with pytest.raises(TableError, match=r"there is no column `text` \(columns: body, n\)"):
        judge_table(judge_length, tmp_path / "in.parquet", out)
    with pytest.raises(TableError, match="column `n` holds int64, not text"):
        judge_table(judge_length, tmp_path / "in.parquet", out, TableOptions(text_column="n"))
    twice = pa.table([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    pq.write_table(twice, tmp_path / "twice.parquet")
    with pytest.raises(TableError, match="column names used twice: text"):
        judge_table(judge_length, tmp_path / "twice.parquet", out)
    assert not out.exists()


def test_a_parquet_file_damaged_inside_is_explained(tmp_path):
    source = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": [f"text {i}" * 20 for i in range(500)]}), source, compression="zstd")
    content = bytearray(source.read_bytes())
    content[20:200] = bytes(180)
    source.write_bytes(content)
    asked = []
    with pytest.raises(TableError, match=r"in\.parquet: cannot be read as Parquet"):
        judge_table(asked.append, source, tmp_path / "out.parquet")
    assert asked == []
    assert _names(tmp_path) == ["in.parquet"]


def test_a_full_disk_is_explained_and_leaves_nothing(tmp_path, monkeypatch):
    source = _write(tmp_path / "in.csv", "text\na\n")

    def full(writer, block, verdicts):
        raise OSError(28, "No space left on device")

    for name, writer in {"out.jsonl": JsonlWriter, "out.csv": CsvWriter, "out.parquet": ParquetWriter}.items():
        monkeypatch.setattr(writer, "append", full)
        with pytest.raises(TableError, match=rf"{name}: cannot be written \(No space left on device\)"):
            judge_table(judge_length, source, tmp_path / name)
    assert _names(tmp_path) == ["in.csv"]


def test_messages_do_not_repeat_texts_that_stand_where_names_should(tmp_path):
    source = _write(tmp_path / "in.csv", "a long case text without any header " * 5 + "," * 40 + "\n")
    with pytest.raises(TableError) as raised:
        judge_table(judge_length, source, tmp_path / "out.csv")
    assert len(str(raised.value)) < 400


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.parquet"])
def test_a_judge_that_fails_midway_leaves_nothing(name, tmp_path):
    source = _write(tmp_path / "in.csv", "text\na\nb\nc\n")
    calls = []

    def judge(texts):
        calls.append(texts)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return judge_length(texts)

    with pytest.raises(KeyboardInterrupt):
        judge_table(judge, source, tmp_path / name, TableOptions(block=1))
    assert _names(tmp_path) == ["in.csv"]


def test_outputs_are_replaced_only_on_request(tmp_path):
    source = _write(tmp_path / "in.csv", "text\na\n")
    target = _write(tmp_path / "out.csv", "precious")
    with pytest.raises(TableError, match="the output file exists"):
        judge_table(judge_length, source, target)
    assert target.read_text() == "precious"
    judge_table(judge_length, source, target, TableOptions(overwrite=True))
    assert _read_csv(target)[0]["judge_label"] == "allowed"


def test_outputs_that_cannot_be_are_refused(tmp_path):
    source = _write(tmp_path / "in.csv", "text\na\n")
    with pytest.raises(TableError, match="the output is the input file"):
        judge_table(judge_length, source, tmp_path / "." / "in.csv", TableOptions(overwrite=True))
    with pytest.raises(TableError, match="the folder of the output does not exist"):
        judge_table(judge_length, source, tmp_path / "none" / "out.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(TableError, match="the output is a folder"):
        judge_table(judge_length, source, tmp_path / "folder.csv")
    with pytest.raises(TableError, match=r"none\.csv: the file does not exist"):
        judge_table(judge_length, tmp_path / "none.csv", tmp_path / "out.csv")


@pytest.mark.parametrize("name", ["out.jsonl", "out.csv", "out.parquet"])
def test_a_table_without_rows_stays_one(name, tmp_path):
    source = _write(tmp_path / "in.csv", "id,text\n")
    assert judge_table(judge_length, source, tmp_path / name) == TableTally()
    if name == "out.csv":
        assert (tmp_path / name).read_text() == ",".join(["id", "text", *APPENDED]) + "\n"
    if name == "out.parquet":
        assert pq.read_table(tmp_path / name).column_names == ["id", "text", *APPENDED]


def test_formats_go_by_extension_unless_named(tmp_path):
    assert [format_of(Path(n)) for n in ("a.JSONL", "a.ndjson", "a.csv", "a.pq")] == [
        "jsonl",
        "jsonl",
        "csv",
        "parquet",
    ]
    source = _write(tmp_path / "in.txt", "text\na\n")
    judge_table(judge_length, source, tmp_path / "out.log", TableOptions(input_format="csv", output_format="jsonl"))
    assert _read_jsonl(tmp_path / "out.log")[0]["text"] == "a"


def test_csv_cells_longer_than_the_modules_limit_are_read(tmp_path):
    source = _write(tmp_path / "in.csv", "text\n" + "x" * 200_000 + "\n")
    assert judge_table(judge_length, source, tmp_path / "out.csv").violations == 1


def test_many_rows_make_few_parquet_row_groups(tmp_path):
    source = _write(tmp_path / "in.csv", "text\n" + "word\n" * 20_000)
    judge_table(judge_length, source, tmp_path / "out.parquet", TableOptions(block=512))
    assert pq.ParquetFile(tmp_path / "out.parquet").metadata.num_row_groups == 2
