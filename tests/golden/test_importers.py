"""Each format: what it reads, what it leaves out, and what it says of a file that does not fit."""

from __future__ import annotations

import csv

import pytest

from promptopt.core.case import CaseKind
from promptopt.errors import ConfigError, GoldenSetError
from promptopt.golden.importers import IMPORTERS
from promptopt.golden.importers.options import ImportOptions, parse_options


def read(format, path, **options):
    return IMPORTERS[format].read(path, ImportOptions(**options))


@pytest.fixture
def write_csv(tmp_path):
    def write(*rows):
        path = tmp_path / "cases.csv"
        with path.open("w", encoding="utf-8", newline="") as stream:
            csv.writer(stream).writerows(rows)
        return path

    return write


def test_jsonl_takes_mapped_columns_and_counts_rows_without_label(write_lines):
    path = write_lines(
        {"body": "one", "toxic": True, "key": "k1", "rule": "X1", "sev": 3, "lang": "de", "fam": "f"},
        {"body": "two", "toxic": False, "key": "k2", "rule": "X1", "sev": 3},
        {"body": "three", "toxic": None, "key": "k3"},
    )
    columns = {"clause": "rule", "severity": "sev", "language": "lang", "group": "fam"}
    cases, left_out = read("jsonl", path, text="body", label="toxic", id="key", **columns)
    assert left_out == {"no label": 1}
    first, second = cases
    assert (first.id, first.text, first.clause, first.severity) == ("k1", "one", "X1", 3)
    assert (first.language, first.group, first.is_violation) == ("de", "f", True)
    assert (second.severity, second.group, second.language, second.is_violation) == (0, "k2", "en", False)


def test_jsonl_takes_promptopts_own_form(write_lines, row):
    pair = {"kind": "contrast", "pair": "p1"}
    path = write_lines(row(**pair), row(id="b", text="other", label="allowed", clause=None, severity=0, **pair))
    cases, _ = read("jsonl", path)
    assert [(c.kind, c.pair, c.clause, c.severity) for c in cases] == [
        (CaseKind.CONTRAST, "p1", "X1", 2),
        (CaseKind.CONTRAST, "p1", None, 0),
    ]


def test_csv_rows_without_id_are_numbered_and_violations_without_severity_are_low(write_csv):
    path = write_csv(["text", "label"], ["one,\nwith a line", "yes"], ["two", "No"])
    cases, _ = read("csv", path)
    assert [(c.id, c.severity, c.text) for c in cases] == [("row-1", 1, "one,\nwith a line"), ("row-2", 0, "two")]


def test_label_values_can_be_named(write_csv):
    path = write_csv(["text", "label"], ["one", "Hateful"], ["two", "offensive"], ["three", "normal"])
    cases, _ = read("csv", path, positive_values=("hateful",))
    assert [c.is_violation for c in cases] == [True, False, False]
    with pytest.raises(GoldenSetError, match=r"cases\.csv:3: `label`: unknown label 'offensive'"):
        read("csv", path, positive_values=("hateful",), negative_values=("normal",))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([["text", "label"], ["one", "maybe"]], r"cases\.csv:2: `label`: unknown label 'maybe'"),
        ([["text", "label"], ["a\nb", "1"], [" ", "1"]], r"cases\.csv:4: `text`: text is empty"),
        ([["body", "label"], ["one", "1"]], r"column `text` is missing; set the option `text` to one of body, label"),
        ([["text", "label"], ["one"]], r"cases\.csv:2: the row has 1 cells, the header 2"),
        ([["text", "label", "text"], ["a", "1", "b"]], "names column `text` twice"),
        ([["text", "label"]], "holds no row"),
        ([], "no header line"),
        (
            [["id", "text", "label"], ["a", "x", "1"], ["a", "x", "0"]],
            r"csv:3: case a is labelled allowed .* on line 2",
        ),
        ([["text", "label", "severity"], ["x", "1", "9"]], r"cases\.csv:2: `severity`.*9"),
    ],
)
def test_csv_faults_name_their_place(write_csv, rows, expected):
    with pytest.raises(GoldenSetError, match=expected):
        read("csv", write_csv(*rows))


def test_csv_with_an_open_quote_is_said(tmp_path):
    path = tmp_path / "cases.csv"
    path.write_text('text,label\none,1\n"two,0\n')
    with pytest.raises(GoldenSetError, match=r"cases\.csv:3: not valid CSV"):
        read("csv", path)


def test_a_mapped_column_that_does_not_exist_lists_those_that_do(write_lines):
    with pytest.raises(GoldenSetError, match="column `grp` is missing; the file has label, text"):
        read("jsonl", write_lines({"text": "a", "label": 1}), group="grp")


def test_jsonl_text_must_be_text(write_lines):
    with pytest.raises(GoldenSetError, match=r":1: `text`: input should be a valid string"):
        read("jsonl", write_lines({"text": ["a"], "label": 1}))


MODERATION = [{"id": "m1", "prompt": "one", "S": 1, "H": 0}, {"prompt": "two", "S": 0}, {"prompt": "three", "H": 1}]


def test_openai_moderation_leaves_the_unknown_out(write_lines):
    cases, left_out = read("openai-moderation", write_lines(*MODERATION), category="S")
    assert [(c.id, c.is_violation, c.severity) for c in cases] == [("m1", True, 1), ("row-00002", False, 0)]
    assert left_out == {"category S unknown": 1}


@pytest.mark.parametrize(
    ("category", "more", "expected"),
    [
        ("Z", {}, "unknown category `Z`; choose one of H, S"),
        (None, {}, "no category is chosen; choose one of H, S"),
        ("S", {"prompt": "four", "S": 2}, r":4: `S`: 2 is neither 0 nor 1"),
        ("S", {"S": 1}, r":4: key `prompt` is missing"),
        ("S", {"prompt": "", "S": 1}, r":4: `text`: text is empty"),
    ],
)
def test_openai_moderation_faults(write_lines, category, more, expected):
    with pytest.raises(GoldenSetError, match=expected):
        read("openai-moderation", write_lines(*MODERATION, *([more] if more else [])), category=category)


HATECHECK = ["functionality", "case_id", "test_case", "label_gold", "templ_id", "ref_templ_id"]


def test_hatecheck_groups_derived_templates_and_keeps_the_functionality(write_csv):
    path = write_csv(
        HATECHECK,
        ["derog_h", "1", "one", "hateful", "1", ""],
        ["spell_h", "2", "0ne", "hateful", "30", "1"],
        ["negate_nh", "3", "not one", "non-hateful", "4", ""],
    )
    cases, _ = read("hatecheck", path)
    assert [c.id for c in cases] == ["derog_h-1", "spell_h-2", "negate_nh-3"]
    assert cases[0].group == cases[1].group == "template-0001" != cases[2].group
    assert [c.kind for c in cases] == [CaseKind.PLAIN, CaseKind.PLAIN, CaseKind.HARD_NEGATIVE]


def test_hatecheck_faults(write_csv):
    with pytest.raises(GoldenSetError, match="column `test_case` is missing; the file has functionality, case_id"):
        read("hatecheck", write_csv(HATECHECK[:2], ["f", "1"]))
    with pytest.raises(GoldenSetError, match=r":2: `label_gold`: unknown label 'nice'; use hateful or non-hateful"):
        read("hatecheck", write_csv(HATECHECK, ["f", "1", "text", "nice", "1", ""]))


def test_real_files(datasets):
    hatecheck, _ = read("hatecheck", datasets / "hatecheck" / "all_cases.csv")
    assert (len(hatecheck), sum(c.is_violation for c in hatecheck)) == (3901, 2659)
    moderation, left_out = read("openai-moderation", datasets / "openai-moderation" / "dev.jsonl", category="S")
    assert (len(moderation), sum(c.is_violation for c in moderation)) == (433, 64)
    assert left_out == {"category S unknown": 343}


def test_unknown_options_list_the_known_ones():
    with pytest.raises(ConfigError, match=r"unknown key `colour`; known options: text, label"):
        parse_options({"colour": "red"})
    with pytest.raises(ConfigError, match="`limit`"):
        parse_options({"limit": 0})
