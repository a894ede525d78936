"""``promptopt golden``: what comes in, and what is shown of it."""

from __future__ import annotations

import csv
import json
import re
import shlex

import pytest

from promptopt.config import load_config
from promptopt.golden.reader import read_golden_set


@pytest.fixture
def sources(tmp_path, labelled):
    """The labelled rows in each of the four formats: format to file and options."""
    table = tmp_path / "rows.csv"
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["body", "verdict"])
        writer.writerows([row["text"], "bad" if row["label"] == "violation" else "good"] for row in labelled)
    moderation = tmp_path / "moderation.jsonl"
    lines = [{"prompt": row["text"], "S": int(row["label"] == "violation")} for row in labelled]
    moderation.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    hatecheck = tmp_path / "hatecheck.csv"
    with hatecheck.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["functionality", "case_id", "test_case", "label_gold", "templ_id", "ref_templ_id"])
        for n, row in enumerate(labelled):
            label = "hateful" if row["label"] == "violation" else "non-hateful"
            writer.writerow(["derog_h", n, row["text"], label, n, ""])
    jsonl = tmp_path / "rows.jsonl"
    jsonl.write_text("".join(json.dumps(row) + "\n" for row in labelled), encoding="utf-8")
    return {
        "jsonl": (jsonl, []),
        "csv": (table, ["-o", "text=body", "-o", "label=verdict", "-o", "positive_values=bad,awful"]),
        "openai-moderation": (moderation, ["--option", "category=S"]),
        "hatecheck": (hatecheck, []),
    }


@pytest.mark.parametrize("format", ["jsonl", "csv", "openai-moderation", "hatecheck"])
def test_every_format_comes_to_the_same_cases(ok, sources, labelled, tmp_path, format):
    source, options = sources[format]
    called = ok("golden", "import", source, tmp_path / "set", "--format", format, "--domain", "violence", *options)
    golden = read_golden_set(tmp_path / "set")

    assert golden.domain == "violence"
    assert {(case.text, case.label.value) for case in golden.cases} == {(r["text"], r["label"]) for r in labelled}
    assert "60 cases (violation 30, allowed 30) in 60 groups" in called.out


def test_importing_again_changes_nothing_and_other_data_need_force(ok, refused, sources, tmp_path, labelled):
    target, format = tmp_path / "set", ["--format", "jsonl", "--domain", "violence"]
    ok("golden", "import", sources["jsonl"][0], target, *format)
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    ok("golden", "import", sources["jsonl"][0], target, *format)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before

    sentence = refused("golden", "import", sources["jsonl"][0], target, *format, "--limit", 40)
    assert "holds another golden set" in sentence
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before

    ok("golden", "import", sources["jsonl"][0], target, *format, "--limit", 40, "--force")
    assert len(read_golden_set(target).cases) == 40


@pytest.mark.parametrize("folder", ["plain", "with blank, comma & (brackets)", "quote'd", 'double "quotes"'])
def test_next_steps_can_be_pasted(ok, call, sources, tmp_path, folder):
    called = ok("golden", "import", sources["jsonl"][0], tmp_path / folder, "--format=jsonl", "--domain=violence")
    show, sweep = (shlex.split(line) for line in called.out.splitlines() if line.startswith("  "))

    assert show[1:3] == ["golden", "show"]
    assert call(*show[1:]).code == 0
    assert sweep[1] == "sweep"
    config = load_config(sweep[2:])
    assert config.golden.path == str(tmp_path / folder)
    assert config.domain.name == "violence"
    assert config.name == re.sub("[^a-z]+", "-", folder).strip("-")


def test_next_step_for_a_domain_without_a_policy_asks_for_one(ok, sources, tmp_path):
    called = ok("golden", "import", sources["jsonl"][0], tmp_path / "set", "--format=jsonl", "--domain=toy")

    assert "sweep domain.name=toy domain.policy=POLICY.yaml golden=folder" in called.out


def test_show_counts_every_case_and_prints_no_text(ok, imported, labelled):
    shown = ok("golden", "show", imported).out
    labels = shown.split("\n\n")[1]
    rows = {line.split()[0]: line.split()[1:] for line in labels.splitlines()}

    assert rows["allowed"][-1] == rows["violation"][-1] == "30"
    assert rows["cases"][-1] == "60"
    assert sum(map(int, rows["cases"][:-1])) == 60
    assert not any(row["text"] in shown for row in labelled)


@pytest.mark.parametrize("category", ["S", "H", "V"])
def test_openai_moderation_data(ok, datasets, tmp_path, category):
    source = datasets / "openai-moderation" / "dev.jsonl"
    called = ok(
        *("golden", "import", source, tmp_path / "set", "--format", "openai-moderation", "--domain", "sexual"),
        *("-o", f"category={category}", "--limit", 300, "--json"),
    )

    assert called.json["cases"] == 300
    assert called.json["labels"]["violation"] > 10
    assert called.json["left_out"][f"category {category} unknown"] > 0


def test_hatecheck_data(ok, datasets, tmp_path):
    source = datasets / "hatecheck" / "all_cases.csv"
    called = ok("golden", "import", source, tmp_path / "set", "--format=hatecheck", "--domain=abuse", "--json")

    assert called.json["cases"] > 3000
    assert called.json["labels"]["violation"] > called.json["labels"]["allowed"]
