"""``promptopt judge`` with several bundles: every row under every policy, and what is to be done with it."""

from __future__ import annotations

import json

import pytest

from promptopt.bundle.domain_columns import OVERALL_COLUMNS
from promptopt.bundle.files import read_bundle, write_bundle
from promptopt.bundle.table_verdicts import VERDICT_COLUMNS
from promptopt.engines.fake import FakeEngine
from promptopt.errors import EngineError


def _read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="session")
def bundles(bundle, tmp_path_factory):
    """A folder with the exported judge under three domains, one of them as a sweep leaves it."""
    folder = tmp_path_factory.mktemp("bundles")
    for domain, where in (("violence", "violence"), ("abuse", "abuse"), ("political", "sweep-7/bundle")):
        write_bundle(read_bundle(bundle).model_copy(update={"domain": domain}), folder / where)
    (folder / "notes.txt").write_text("not a bundle")
    return folder


@pytest.fixture
def opened(monkeypatch):
    """The engines that the command opens; those after ``fail_at`` calls of the first fail."""

    class Opened(list):
        fail_at = -1

    engines = Opened()

    class Engine(FakeEngine):
        def score(self, queries):
            if self.calls == engines.fail_at:
                raise EngineError("the judge is gone", remedy="bring it back")
            return super().score(queries)

    monkeypatch.setattr(
        "promptopt.commands.judge_domains.open_bundle_engine", lambda *_: engines.append(Engine()) or engines[-1]
    )
    return engines


def test_every_row_is_judged_under_every_policy_by_one_engine(ok, bundles, texts, tmp_path, opened):
    called = ok("judge", "--bundles", bundles, "--in", texts, "--out", tmp_path / "out.jsonl")

    rows = _read(tmp_path / "out.jsonl")
    own = [f"judge_{d}_{name}" for d in ("abuse", "political", "violence") for name in VERDICT_COLUMNS]
    assert [key for key in rows[0] if key.startswith("judge_")] == [*(f"judge_{c}" for c in OVERALL_COLUMNS), *own]
    assert [row["id"] for row in rows] == [1, 2, 3, 4, 5]
    assert [row["judge_action"] is None for row in rows] == [False, False, True, True, False]
    assert [row["judge_unjudged_domains"] for row in rows[1:4]] == [None, *["abuse,political,violence"] * 2]
    assert [engine.calls for engine in opened] == [1]
    assert "5 rows under 3 policies: " in called.out
    assert "none 2" in called.out


def test_verdicts_are_those_of_the_command_with_one_bundle(ok, bundles, texts, tmp_path):
    ok("judge", "--bundle", bundles / "abuse", "--in", texts, "--out", tmp_path / "one.jsonl")
    ok("judge", "--bundles", bundles, "--in", texts, "--out", tmp_path / "all.jsonl")

    for one, every in zip(_read(tmp_path / "one.jsonl"), _read(tmp_path / "all.jsonl"), strict=True):
        for name in VERDICT_COLUMNS:
            assert every[f"judge_abuse_{name}"] == one[f"judge_{name}"]


def test_the_order_of_the_bundles_makes_no_difference(ok, bundles, texts, tmp_path):
    for name, order in (("a.csv", ("abuse", "violence")), ("b.csv", ("violence", "abuse"))):
        ok("judge", *(x for d in order for x in ("--bundle", bundles / d)), "--in", texts, "--out", tmp_path / name)

    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_the_same_command_goes_on_after_a_failure(ok, refused, bundles, write_rows, tmp_path, opened):
    rows = write_rows([{"text": f"some words, number {i}"} for i in range(30)])
    command = ["judge", "--bundles", bundles, "--in", rows, "--part-rows", 10, "--out"]
    ok(*command, tmp_path / "whole.jsonl")
    opened.fail_at = 2
    assert refused(*command, tmp_path / "out.jsonl") == "the judge is gone; bring it back."
    opened.fail_at = -1

    called = ok(*command, tmp_path / "out.jsonl", "--json")

    assert (called.json["rows"], called.json["rows_judged_before"], called.json["engines"]) == (30, 20, 1)
    assert sum(called.json["actions"].values()) == 30
    assert {tally["rows"] for tally in called.json["domains"].values()} == {30}
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not (tmp_path / "out.jsonl.parts").exists()


def test_parts_of_other_bundles_are_refused(refused, bundles, write_rows, tmp_path, opened):
    rows = write_rows([{"text": f"some words, number {i}"} for i in range(30)])
    command = ["judge", "--in", rows, "--part-rows", 10, "--out", tmp_path / "out.jsonl"]
    opened.fail_at = 1
    refused(*command, "--bundles", bundles)

    sentence = refused(*command, "--bundle", bundles / "abuse", "--bundle", bundles / "violence")
    assert "were judged otherwise (bundle " in sentence


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "there is no judge to judge with; name a bundle with --bundle, or a folder of them with --bundles."),
        (["--bundles", "missing"], "missing: the folder of bundles does not exist; check the path."),
        (["--bundles", "."], "holds no bundle; give a folder whose subfolders are bundles, or name each bundle."),
        (["--bundle", "A", "--bundle", "B"], "two bundles are of the domain abuse (one, one)"),
        (["--bundle", "A", "--bundle", "C", "--actors", "2"], "the engine 'fake' has no actors"),
    ],
)
def test_bundles_that_do_not_fit(refused, bundles, texts, tmp_path, in_tmp_path, options, says):
    copies = {"A": bundles / "abuse", "B": tmp_path / "copy", "C": bundles / "violence"}
    if "B" in options:
        write_bundle(read_bundle(copies["A"]), copies["B"])

    sentence = refused("judge", "--in", texts, "--out", tmp_path / "o.jsonl", *(copies.get(o, o) for o in options))

    assert says in sentence
    assert not (tmp_path / "o.jsonl").exists()


def test_other_judges_than_the_measured_ones_are_refused_unless_they_are_wanted(
    ok, refused, bundles, texts, tmp_path, monkeypatch
):
    opener = "promptopt.commands.judge_domains.open_bundle_engine"
    monkeypatch.setattr(opener, lambda *_: FakeEngine(seed=1))
    command = ["judge", "--bundles", bundles, "--in", texts, "--out", tmp_path / "out.jsonl"]

    assert "the bundle was measured on another judge" in refused(*command)
    ok(*command, "--any-judge")
    assert len(_read(tmp_path / "out.jsonl")) == 5
