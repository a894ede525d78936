"""Cascades and juries on the command line: judging, testing, showing, verifying, and making one bundle of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from promptopt.judges.config import RayOptions

VIOLENCE = Path(__file__).resolve().parents[2] / "data" / "policies" / "violence.yaml"


@pytest.fixture
def cascade(runs, tmp_path) -> Path:
    for name in ("one", "a-sweep-with-a-long-name-seed1"):
        shutil.copytree(runs / name / "bundle", tmp_path / name)
    path = tmp_path / "cascade.yaml"
    path.write_text(
        "shape: cascade\nname: both\nstages:\n  - bundle: one\n    band: [0.2, 0.8]\n"
        "  - composition:\n      shape: jury\n      agreement: 0.6\n      members:\n        - bundle: one\n"
        "        - bundle: a-sweep-with-a-long-name-seed1\n          weight: 2\n    band: [0.4, 0.5]\n",
        encoding="utf-8",
    )
    return path


@pytest.fixture
def composite(ok, cascade, tmp_path) -> Path:
    ok("bundle", "compose", cascade, "--out", tmp_path / "composite")
    return tmp_path / "composite"


def _judged(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_file_and_composite_bundle_judge_alike_and_say_what_it_cost(ok, cascade, composite, texts, tmp_path):
    first = ok("judge", "--bundle", cascade, "--in", texts, "--out", tmp_path / "a.jsonl", "--json").json
    assert first["rows"] == 5
    assert first["unjudged"] == 2
    places = [cost["place"] for cost in first["costs"]]
    assert places == ["", "1", "2", "2.1", "2.2"]
    whole, one, jury, *members = first["costs"]
    assert whole["cases"] == one["cases"] == 3
    assert jury["cases"] == one["passed"] == members[0]["cases"]
    assert whole["judgements"] == one["judgements"] + jury["judgements"]
    assert whole["passed"] == first["escalated"]

    shown = ok("judge", "--bundle", composite, "--in", texts, "--out", tmp_path / "b.jsonl").out
    assert _judged(tmp_path / "a.jsonl") == _judged(tmp_path / "b.jsonl")
    assert "1 one" in shown
    assert "2.2 a-sweep-with-a-long-name-seed1" in shown
    assert "in all" in shown


def test_a_killed_run_goes_on_only_with_the_same_composition(ok, call, cascade, texts, tmp_path, monkeypatch):
    from promptopt.bundle.composition.cascade import CascadeJudge

    judge = CascadeJudge.judge
    ask = ("judge", "--bundle", cascade, "--in", texts, "--out", tmp_path / "out.jsonl", "--part-rows", 2)

    def dies(self, texts, block=512):
        if texts[0] is None or not texts[0]:
            raise KeyboardInterrupt
        return judge(self, texts, block)

    monkeypatch.setattr(CascadeJudge, "judge", dies)
    assert call(*ask).code == 130
    monkeypatch.undo()
    cascade.write_text(cascade.read_text(encoding="utf-8").replace("0.8]", "0.9]"), encoding="utf-8")
    assert "judged otherwise (bundle" in call(*ask).err
    cascade.write_text(cascade.read_text(encoding="utf-8").replace("0.9]", "0.8]"), encoding="utf-8")
    assert ok(*ask, "--json").json["rows_judged_before"] == 2


def test_composite_bundles_are_shown_verified_and_tested(ok, cascade, composite):
    shown = ok("bundle", "show", composite)
    assert "cascade, 2 stages" in shown.out
    assert "[0.2, 0.8) to the next stage" in shown.out
    assert "weight 2 of 3" in shown.out
    as_json = ok("bundle", "show", composite, "--json").json
    assert as_json["digest"] == ok("bundle", "show", cascade, "--json").json["digest"]
    report = ok("bundle", "verify", composite, "--json").json
    assert report["passed"]
    assert len(report["cases"]) > 48
    assert "files      every digest matches" in ok("bundle", "verify", composite).out
    said = ok("policy", "test", VIOLENCE, "--bundle", composite, "--limit", 20, "--json").json
    assert said["same_policy"]
    assert said["bundle"] == as_json["digest"]


def test_no_byte_of_a_composite_bundle_changes_unseen(refused, composite, tmp_path):
    files = [path for path in sorted(composite.rglob("*")) if path.is_file()]
    assert {path.parent.parent.name for path in files} >= {"members"}
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content + b" ")
        sentence = refused("bundle", "show", composite)
        assert "does not match" in sentence
        path.write_bytes(content)
    (composite / "members" / "extra").write_text("x")
    assert "members/extra is not listed in composition.json" in refused("bundle", "show", composite)


def test_a_composite_bundle_does_not_need_what_it_was_made_of(ok, composite, cascade, tmp_path):
    shutil.move(composite, tmp_path / "elsewhere")
    cascade.unlink()
    for name in ("one", "a-sweep-with-a-long-name-seed1"):
        shutil.rmtree(tmp_path / name)
    assert ok("bundle", "verify", tmp_path / "elsewhere").code == 0
    readme = (tmp_path / "elsewhere" / "README.md").read_text(encoding="utf-8")
    assert "| 2.2 | a-sweep-with-a-long-name-seed1 | weight 2 of 3 |" in readme


def test_composing_says_what_it_wrote_and_replaces_nothing_unasked(ok, refused, bundle, cascade, composite, tmp_path):
    assert "a bundle is already there" in refused("bundle", "compose", cascade, "--out", composite)
    said = ok("bundle", "compose", cascade, "--out", composite, "--force", "--json").json
    assert said["name"] == "both"
    assert {path.name for path in (composite / "members").iterdir()} == {
        "01-one",
        "02-a-sweep-with-a-long-name-seed1",
    }
    assert "is one bundle" in refused("bundle", "compose", bundle, "--out", tmp_path / "other")
    assert "neither a bundle nor a composition" in refused("bundle", "show", tmp_path / "nothing")


def test_pinned_cases_of_the_composition_are_part_of_the_check(call, composite):
    from promptopt.bundle.folders import digests, pretty, seal

    manifest = json.loads((composite / "composition.json").read_text(encoding="utf-8"))
    lines = (composite / "parity.jsonl").read_text(encoding="utf-8").splitlines()
    case = json.loads(lines[0])
    case["score"] = 1 - case["score"]
    content = "\n".join([json.dumps(case), *lines[1:]]).encode() + b"\n"
    (composite / "parity.jsonl").write_bytes(content)
    manifest["files"] |= digests({"parity.jsonl": content})
    (composite / "composition.json").write_bytes(pretty(manifest))
    (composite / "composition.sha256").write_bytes(seal(pretty(manifest), "composition.json"))
    called = call("bundle", "verify", composite, "--json")
    assert called.code == 1
    assert called.json["differing"] == [case["id"]]


def test_a_worker_of_ray_opens_the_whole_composition_and_no_ray_inside_it(cascade):
    from promptopt.bundle.composition.reader import read_judge
    from promptopt.engines.fake import FakeEngine
    from promptopt.errors import BundleError
    from promptopt.pipeline.ray_corpus import JudgeSetup, RayWorkers

    setup = JudgeSetup(cascade, read_judge(cascade).digest, {}, any_judge=False)
    with setup.open() as judge:
        judge.judge(["I will kill you", "bread"])
        costs = judge.costs()
    workers = RayWorkers(setup, RayOptions())
    workers._count(costs)
    workers._count(costs)
    assert [(cost.place, cost.cases) for cost in workers.costs] == [(cost.place, 2 * cost.cases) for cost in costs]
    assert workers.queries == 2 * costs[0].judgements > 0
    spread = {"name": "spread", "engine": "ray", "ray": {"engine": "fake"}}
    assert isinstance(setup._open_engine(spread, cascade), FakeEngine)
    with pytest.raises(BundleError, match="another bundle than the command"):
        JudgeSetup(cascade, "0" * 64, {}, any_judge=False).open()


def test_options_that_do_not_fit(refused, cascade, texts, tmp_path):
    ask = ("judge", "--bundle", cascade, "--in", texts, "--out", tmp_path / "out.jsonl")
    assert "there is no engine 'gpt'" in refused(*ask, "--engine", "gpt")
    assert "add --engine ray" in refused(*ask, "--actors", 2)
