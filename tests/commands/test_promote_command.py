"""``promptopt promote``: tables, report, JSON and exit codes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "data" / "golden" / "violence"
LONG = "a-sweep-with-a-long-name-seed1"
EXIT_NOT_PROMOTED = 1


@pytest.fixture
def arguments(runs, tmp_path):
    """Two bundles of one domain on the golden set they were made on; the opening goes on record apart."""
    return [
        "promote",
        *("--winner", runs / "one" / "bundle"),
        *("--incumbent", runs / LONG / "bundle"),
        *("--golden", GOLDEN),
        *("--runs-dir", tmp_path / "record"),
    ]


def recorded(folder):
    return [json.loads(line) for line in (folder / "test_openings.jsonl").read_text().splitlines()]


def test_json_holds_everything(call, arguments, tmp_path):
    called = call(*arguments, "--reason", "monthly review", "--json")
    found = called.json

    assert called.code == (0 if found["promoted"] else EXIT_NOT_PROMOTED)
    assert found["outcome"] in ("better", "no significant difference", "worse")
    assert [metric["name"] for metric in found["metrics"]] == [
        "auprc", "recall_at_precision", "recall", "precision", "f1"
    ]  # fmt: skip
    assert [verdict["name"] for verdict in found["verdicts"]] == ["all", "violations", "allowed"]
    assert {part["slice"].partition(":")[0] for part in found["slices"]} >= {"clause", "language", "severity"}
    assert [o["why"] for o in found["openings"]] == ["monthly review"] * len(found["openings"])
    assert recorded(tmp_path / "record") == found["openings"]
    assert (found["winner"]["name"], found["incumbent"]["name"]) == ("one", LONG)
    assert found["earlier_openings"] >= 2, "the sweeps that made the bundles opened it"


def test_the_figures_of_the_table_are_those_of_the_json_and_fit_100_columns(call, arguments):
    found = call(*arguments, "--json").json
    shown = call(*arguments, columns=100).out

    for metric in found["metrics"]:
        gap = metric["difference"]
        assert f"{gap['point']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]" in shown
    for part in found["slices"]:
        assert re.search(rf"^{re.escape(part['slice'])} +{part['violations']} ", shown, re.M)
    last = [line for line in shown.splitlines() if line.startswith(("Promoted: ", "Not promoted: "))]
    assert len(last) == 1
    assert found["reasons"][0] in last[0]
    assert f"opened {found['earlier_openings']} times before" in shown
    tables = [line for line in shown.splitlines() if re.search(r"\S {2,}\S", line)]
    assert max(map(len, tables)) <= 100


def test_a_sweep_over_its_own_copy_is_not_promoted(call, arguments, runs, tmp_path):
    """The same prompt under another name: no difference at all, and exit code 1."""
    from promptopt.bundle.files import read_bundle, write_bundle

    copy = read_bundle(runs / "one" / "bundle").model_copy(update={"name": "copy"})
    write_bundle(copy, tmp_path / "copy")
    arguments[arguments.index("--incumbent") + 1] = tmp_path / "copy"

    called = call(*arguments)

    assert called.code == EXIT_NOT_PROMOTED
    assert "Not promoted: no significant difference; AUPRC does not differ significantly (+0.000" in called.out
    assert len(recorded(tmp_path / "record")) == 1, "one candidate, one opening"


@pytest.mark.parametrize("name", ["report.md", "deep/report.html"])
def test_report(call, arguments, tmp_path, name):
    called = call(*arguments, "--report", tmp_path / name)

    text = (tmp_path / name).read_text(encoding="utf-8")
    (sentence,) = [line for line in called.out.splitlines() if line.startswith(("Promoted: ", "Not promoted: "))]
    assert sentence.replace(">", "&gt;") in text or sentence in text
    for title in ("Gated metrics", "Verdicts that are right", "Critical slices", "winner"):
        assert title in text
    assert str(tmp_path / name) in called.out
    assert not list(tmp_path.rglob("*.part"))
    if name.endswith("html"):
        assert text.startswith("<!doctype html>")
        assert "http" not in text


def test_no_case_text_is_shown(call, arguments, tmp_path):
    texts = [json.loads(line)["text"] for line in (GOLDEN / "cases.jsonl").read_text(encoding="utf-8").splitlines()]
    called = call(*arguments, "--report", tmp_path / "report.md")

    written = called.out + called.err + (tmp_path / "report.md").read_text(encoding="utf-8")
    assert not [text for text in texts if text in written]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--alpha", "0.7"], "promote: `alpha`: input should be less than 0.5"),
        (["--precision-floor", "0"], "promote: `precision_floor`: input should be greater than 0"),
        (["--recall-floor", "V5=0.9"], "--recall-floor: 'V5=0.9' is not SLICE=VALUE; write a slice as clause:V2.b"),
        (["--recall-floor", "clause:V99=0.9"], "no violation of the test split is in the slice clause:V99; there are"),
        (["--recall-floor", "language:xx=0.9"], "in the slice language:xx; there are language:de, language:en"),
        (["--report", "report.pdf"], "--report: 'report.pdf' is no report; name a file .html or .md."),
        (["--golden", "nowhere"], "nowhere: the folder does not exist; check the path."),
        (["--golden", ROOT / "data" / "golden" / "abuse"], "domain abuse, the bundles judge violence; give a golden"),
        (["--winner", "nowhere"], "nowhere: the bundle folder does not exist; check the path."),
        (["--incumbent", "nowhere"], "nowhere: the bundle folder does not exist; check the path."),
    ],
)
def test_mistakes_leave_the_test_sealed(refused, arguments, in_tmp_path, options, says):
    assert says in refused(*arguments, *options)
    assert list(in_tmp_path.iterdir()) == []


def test_the_same_bundle_twice(refused, arguments, runs, in_tmp_path):
    shutil.copytree(runs / "one" / "bundle", in_tmp_path / "copy")
    assert "winner and incumbent are the same bundle" in refused(*arguments, "--incumbent", in_tmp_path / "copy")
    assert not (in_tmp_path / "record").exists()


def test_a_report_that_cannot_be_written(refused, arguments, in_tmp_path):
    (in_tmp_path / "file").write_text("")
    assert "the report cannot be written (" in refused(*arguments, "--report", "file/report.md")
    assert "a folder is in the way of the report" in refused(*arguments, "--report", _folder(in_tmp_path / "r.md"))


def _folder(path):
    path.mkdir()
    return path
