"""Functional cases survive being written and read; HateCheck's functionality becomes the function."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptopt.errors import GoldenSetError
from promptopt.golden.functional import format_functional_cases, read_functional_cases, read_hatecheck_cases
from promptopt.policy.functional.generate import functional_cases
from promptopt.policy.reader import read_policy

DATA = Path(__file__).resolve().parents[2] / "data"


def test_round_trip(tmp_path):
    cases = functional_cases(read_policy(DATA / "policies" / "sexual.yaml"))
    path = tmp_path / "cases.jsonl"
    path.write_text(format_functional_cases(cases), encoding="utf-8")
    assert read_functional_cases(path) == cases


def test_golden_cases_go_by_their_kind():
    cases = read_functional_cases(DATA / "golden" / "violence" / "cases.jsonl")
    assert {case.function for case in cases} == {"plain", "contrast", "hard_negative", "harmless"}


def test_faults_name_the_line(tmp_path):
    row = {"id": "a", "text": "t", "label": "allowed", "group": "g", "function": " "}
    path = tmp_path / "cases.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    with pytest.raises(GoldenSetError, match=r"cases\.jsonl:1: `function` is ' '"):
        read_functional_cases(path)
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(GoldenSetError, match="no case"):
        read_functional_cases(path)


def test_hatecheck(tmp_path):
    path = tmp_path / "all_cases.csv"
    path.write_text(
        "functionality,case_id,test_case,label_gold,templ_id,ref_templ_id\n"
        "slur_h,1,some text,hateful,1,1\nident_neutral_nh,2,other text,non-hateful,2,2\n",
        encoding="utf-8",
    )
    cases = read_hatecheck_cases(path)
    assert [(c.function, c.is_violation) for c in cases] == [("slur_h", True), ("ident_neutral_nh", False)]
