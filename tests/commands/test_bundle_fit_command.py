"""``promptopt bundle fit``: bands and weights from stored scores of a calibration split."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

GOLDEN = Path(__file__).resolve().parents[2] / "data" / "golden"
LENIENT = ("--recall-floor", 0.5, "--delta", 0.4, "--human-cost", 1000)


@pytest.fixture
def cascade(runs, tmp_path) -> Path:
    path = tmp_path / "cascade.yaml"
    first, second = (runs / name / "bundle" for name in ("one", "a-sweep-with-a-long-name-seed1"))
    path.write_text(
        f"shape: cascade\nstages:\n  - bundle: {first}\n    band: [0.2, 0.8]\n    cost: 2\n  - composition:\n"
        f"      shape: jury\n      members:\n        - bundle: {first}\n        - bundle: {second}\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def stored_only(monkeypatch):
    opener = "promptopt.bundle.composition.opening.open_bundle_engine"
    monkeypatch.setattr(opener, lambda *_: pytest.fail("a judge was opened though every score is stored"))
    return monkeypatch


def test_what_is_fitted_rests_on_stored_scores_and_judges(ok, cascade, runs, texts, tmp_path, stored_only):
    target = tmp_path / "elsewhere" / "fitted.yaml"
    ask = ("bundle", "fit", cascade, "--golden", GOLDEN / "violence", "--out", target, "--runs-dir", runs, *LENIENT)
    said = ok(*ask, "--json").json
    written = yaml.safe_load(target.read_text(encoding="utf-8"))
    fitted = said["composition"]["fitted"]
    assert written["fitted"] == fitted
    assert fitted["golden"]
    assert fitted["recall_floor"] == 0.5
    assert fitted["positives"] > 0
    assert [stage["band"][0] for stage in written["stages"]] == [part["threshold"] for part in fitted["recall"]]
    paths = [
        line.split("bundle: ")[1] for line in target.read_text(encoding="utf-8").splitlines() if "bundle: " in line
    ]
    assert paths
    assert all(path.startswith("../") for path in paths)

    stored_only.undo()
    shown = ok("bundle", "show", target).out
    assert "fitted on" in shown
    assert "recall floor" in shown
    judged = ok("judge", "--bundle", target, "--in", texts, "--out", tmp_path / "out.jsonl", "--json").json
    assert judged["rows"] == 5
    again = ok(*ask, "--force")
    assert "to people" in again.out
    assert "bundle compose" in again.out
    ok("bundle", "compose", target, "--out", tmp_path / "composite")
    assert ok("bundle", "verify", tmp_path / "composite").code == 0


def test_a_score_that_is_missing_is_judged_and_kept(ok, runs, tmp_path):
    path = tmp_path / "jury.yaml"
    bundles = [runs / name / "bundle" for name in ("one", "a-sweep-with-a-long-name-seed1")]
    path.write_text("shape: jury\nmembers:\n" + "".join(f"  - bundle: {b}\n" for b in bundles), encoding="utf-8")
    ask = ("bundle", "fit", path, "--golden", GOLDEN / "violence", "--runs-dir", tmp_path / "runs", "--json")
    first = ok(*ask, "--out", tmp_path / "a.yaml").json["composition"]
    assert (tmp_path / "runs" / "scores.db").is_file()
    assert first["calibration"]["slope"] == pytest.approx(sum(member["weight"] for member in first["members"]))
    stored = ok(*ask[:-2], runs, "--json", "--out", tmp_path / "b.yaml").json["composition"]
    assert stored["members"] == first["members"]


def test_what_cannot_be_certified_is_refused_with_what_is_missing(refused, cascade, runs, tmp_path):
    ask = ("bundle", "fit", cascade, "--golden", GOLDEN / "violence", "--runs-dir", runs)
    sentence = refused(*ask, "--out", tmp_path / "fitted.yaml", "--recall-floor", 0.99)
    assert "people would judge every case" in sentence
    assert "more are needed" in sentence
    assert not (tmp_path / "fitted.yaml").exists()
    assert "is no YAML file" in refused(*ask, "--out", tmp_path / "fitted.txt")
    (tmp_path / "there.yaml").write_text("precious")
    assert "the file exists" in refused(*ask, "--out", tmp_path / "there.yaml")
    other = ("bundle", "fit", cascade, "--golden", GOLDEN / "abuse", "--out", tmp_path / "fitted.yaml")
    assert "is of domain abuse" in refused(*other)
    one = ("bundle", "fit", runs / "one" / "bundle", "--golden", GOLDEN / "violence", "--out", tmp_path / "f.yaml")
    assert "is one bundle" in refused(*one)
