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
    monkeypatch.setattr(
        "promptopt.bundle.composition.opening.open_bundle_engine", lambda *_: pytest.fail("the judge was loaded")
    )
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

    monkeypatch.setattr("promptopt.bundle.composition.opening.open_bundle_engine", lambda *_: FakeEngine(seed=1))
    command = ["judge", "--bundle", bundle, "--in", texts, "--out", tmp_path / "out.jsonl"]

    assert "the bundle was measured on another judge (weights_digest" in refused(*command)
    assert [path.name for path in tmp_path.iterdir()] == ["texts.jsonl"]
    ok(*command, "--any-judge")
    assert len(_read(tmp_path / "out.jsonl")) == 5


@pytest.fixture
def many(tmp_path):
    path = tmp_path / "many.jsonl"
    _write(path, [{"id": i, "text": f"some words, number {i}"} for i in range(30)])
    return path


@pytest.fixture
def failing(monkeypatch):
    """Lets the judge fail after a number of calls; gives the texts' engines, the newest last."""
    from promptopt.engines.fake import FakeEngine
    from promptopt.errors import EngineError

    engines = []

    def fail_after(calls):
        class Failing(FakeEngine):
            def score(self, queries):
                if self.calls == calls:
                    raise EngineError("the judge is gone", remedy="bring it back")
                return super().score(queries)

        def opened(*_):
            engines.append(Failing())
            return engines[-1]

        monkeypatch.setattr("promptopt.bundle.composition.opening.open_bundle_engine", opened)
        return engines

    return fail_after


def test_the_same_command_goes_on_after_a_failure(ok, refused, bundle, many, tmp_path, failing):
    command = ["judge", "--bundle", bundle, "--in", many, "--out", tmp_path / "out.jsonl", "--part-rows", 10]
    ok("judge", "--bundle", bundle, "--in", many, "--out", tmp_path / "whole.jsonl")
    failing(2)
    assert refused(*command) == "the judge is gone; bring it back."
    engines = failing(-1)

    called = ok(*command)

    assert called.err == "going on: 20 of 30 rows were judged before\n"
    assert "30 rows: " in called.out
    questions = engines[0].queries_seen // 20
    assert engines[1].queries_seen == 10 * questions
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not (tmp_path / "out.jsonl.parts").exists()


def test_rows_judged_before_are_told_in_json(ok, call, bundle, many, tmp_path, failing):
    command = ["judge", "--bundle", bundle, "--in", many, "--out", tmp_path / "out.jsonl", "--part-rows", 10, "--json"]
    failing(1)
    assert call(*command).code == 2
    failing(-1)

    called = ok(*command)

    assert called.err == ""
    assert (called.json["rows"], called.json["rows_judged_before"]) == (30, 10)


def test_other_settings_are_refused_until_restart(ok, refused, bundle, many, tmp_path, failing):
    command = ["judge", "--bundle", bundle, "--in", many, "--out", tmp_path / "out.jsonl", "--part-rows", 10]
    failing(1)
    refused(*command)
    failing(-1)

    sentence = refused(*command, "--prefix", "v_")
    assert "the 1 parts judged before were judged otherwise (prefix 'judge_' there, 'v_' now)" in sentence
    assert "judged before" not in ok(*command, "--prefix", "v_", "--restart").err
    assert "v_label" in _read(tmp_path / "out.jsonl")[29]


def test_verdicts_of_any_judge_go_on_with_the_same_judge_only(ok, refused, bundle, many, tmp_path, monkeypatch):
    from promptopt.engines.fake import FakeEngine

    command = ["judge", "--bundle", bundle, "--in", many, "--out", tmp_path / "out.jsonl", "--part-rows", 10]
    for seed, calls in ((1, 1), (2, -1), (1, -1)):
        engine = FakeEngine(seed=seed)
        score = engine.score

        def limited(queries, engine=engine, score=score, calls=calls):
            if engine.calls == calls:
                raise KeyboardInterrupt
            return score(queries)

        engine.score = limited
        monkeypatch.setattr("promptopt.bundle.composition.opening.open_bundle_engine", lambda *_, engine=engine: engine)
        if seed == 2:
            assert "judged otherwise (judge " in refused(*command, "--any-judge")
        elif calls == -1:
            assert "10 of 30 rows were judged before" in ok(*command, "--any-judge").err
        else:
            with pytest.raises(SystemExit):
                _interrupted(command)


def _interrupted(command):
    import sys
    from unittest import mock

    from promptopt import cli

    with mock.patch.object(sys, "argv", ["promptopt", *map(str, command), "--any-judge"]):
        cli.main()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--engine", "abacus"], "--engine: there is no engine 'abacus'; choose from local, server, ray, fake."),
        (["--actors", "2"], "--actors: the engine 'fake' has no actors; add --engine ray."),
    ],
)
def test_engines_that_do_not_fit(refused, bundle, texts, tmp_path, options, says):
    assert says in refused("judge", "--bundle", bundle, "--in", texts, "--out", tmp_path / "o.jsonl", *options)
    assert [path.name for path in tmp_path.iterdir()] == ["texts.jsonl"]


def test_another_engine_than_the_bundles_is_opened_on_request(ok, bundle, texts, tmp_path, monkeypatch):
    from promptopt.engines.fake import FakeEngine

    asked = []
    monkeypatch.setattr(
        "promptopt.bundle.composition.opening.open_bundle_engine", lambda judge, _: asked.append(judge) or FakeEngine()
    )
    ok("judge", "--bundle", bundle, "--in", texts, "--out", tmp_path / "out.jsonl", "--engine", "local")
    assert [judge["engine"] for judge in asked] == ["local"]


def test_ray_that_is_missing_is_asked_for(refused, bundle, texts, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    sentence = refused("judge", "--bundle", bundle, "--in", texts, "--out", tmp_path / "o.jsonl", "--engine", "ray")
    assert sentence == "the engine `ray` needs the package ray; pip install 'promptopt[ray]'."
    assert [path.name for path in tmp_path.iterdir()] == ["texts.jsonl"]


def test_ray_workers_run_the_bundles_own_engine(bundle, texts, tmp_path, monkeypatch):
    from promptopt.bundle.tables import TableOptions
    from promptopt.commands import judge as command
    from promptopt.errors import EngineError

    opened = []

    def workers(setup, options):
        opened.append((setup, options))
        raise EngineError("enough")

    monkeypatch.setattr(command, "RayWorkers", workers)
    request = command.JudgeRequest(bundle, texts, tmp_path / "o.jsonl", TableOptions(), engine="ray", actors=3)
    with pytest.raises(EngineError):
        command.judge(request, as_json=True)

    ((setup, options),) = opened
    assert (options.engine, options.actors) == ("fake", 3)
    assert setup.judge["engine"] == "fake"
    assert setup.folder == bundle.resolve()


@pytest.mark.parametrize("width", [80, 120])
def test_progress_shows_speed_and_time_left_from_the_row_it_goes_on_at(width, monkeypatch):
    import io

    from rich.console import Console

    from promptopt.commands import judge_display as command

    now = [100.0]
    screen = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    monkeypatch.setattr(command, "error_console", lambda: screen)
    monkeypatch.setattr(command.time, "monotonic", lambda: now[0])
    display = command.JudgeDisplay(silent=False)
    display.begun(600_000, 1_000_000)
    now[0] += 10
    display.judged(610_000, 1_000_000)
    screen.print(display._progress.get_renderable())

    shown = screen.file.getvalue()
    assert "going on: 600,000 of 1,000,000 rows were judged before" in shown
    line = " ".join(shown.splitlines()[-1].split())
    assert "judging 610,000 of 1,000,000 rows 1,000 rows/s" in line
    assert line.endswith("0:06:30 left")


def test_columns_may_be_parts(ok, refused, bundle, write_rows, tmp_path):
    source = write_rows([{"headline": "I will kill you", "post": "a\nTitle: b"}, {"headline": None, "post": None}])
    command = ["judge", "--bundle", bundle, "--in", source, "--out", tmp_path / "out.jsonl"]

    assert refused(*command, "--part", "Title=headline") == (
        "--part: expected PART=COLUMN with a part of small letters, digits and _, found 'Title=headline'; "
        "write it as --part title=COLUMN."
    )
    assert "the part title is named twice" in refused(*command, "--part", "title=headline", "--part", "title=post")
    assert "there is no column `heading`" in refused(*command, "--part", "title=heading")
    ok(*command, "--part", "title=headline", "--part", "body=post")
    first, second = _read(tmp_path / "out.jsonl")
    whole = write_rows([{"text": "Title: I will kill you\nBody: a\n  Title: b"}], name="whole.jsonl")
    ok("judge", "--bundle", bundle, "--in", whole, "--out", tmp_path / "whole-out.jsonl")
    assert first["judge_probability"] == _read(tmp_path / "whole-out.jsonl")[0]["judge_probability"]
    assert second["judge_unjudged_reason"] == "text is empty"


def test_finished_parts_of_other_columns_are_refused(ok, refused, bundle, write_rows, tmp_path, failing):
    source = write_rows([{"text": f"words {i}", "note": "n"} for i in range(30)])
    command = ["judge", "--bundle", bundle, "--in", source, "--out", tmp_path / "out.jsonl", "--part-rows", 10]
    failing(1)
    refused(*command, "--part", "body=text")
    failing(-1)

    sentence = refused(*command, "--part", "body=text", "--part", "author_note=note")
    assert "(columns of parts body=text there, body=text, author_note=note now)" in sentence
    assert "10 of 30 rows were judged before" in ok(*command, "--part", "body=text").err
