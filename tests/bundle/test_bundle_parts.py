"""Judging in parts: whatever happens to a run, the next one goes on, and nothing is judged twice that was finished."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import tracemalloc
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptopt.bundle.parts_files import PartFiles
from promptopt.bundle.parts_work import judge_here
from promptopt.bundle.runtime import BundleJudge
from promptopt.bundle.table_formats import READERS
from promptopt.bundle.table_readers import TableError
from promptopt.bundle.tables import TableFiles, TableOptions, TableTally, judge_in_parts, judge_table
from promptopt.core.case import Label
from promptopt.core.verdict import Verdict
from promptopt.engines.fake import FakeEngine

FORMATS = ["jsonl", "csv", "parquet"]
ROWS, PART, BLOCK = 11, 4, 2
OPTIONS = TableOptions(part_rows=PART, block=BLOCK)


class Stopped(BaseException):
    """What stops a run in these tests."""


class Workers:
    """Judges here with the fake engine, and stops when a number of blocks is judged."""

    def __init__(self, bundle, stop_after=None, judge="judge", stop=None):
        self.engine = FakeEngine()
        self.texts = []
        self._bundle = bundle
        self._judge = BundleJudge(bundle, self.engine)
        self._named = judge
        self._left = stop_after
        self._stop = stop or self.raise_stopped

    def raise_stopped(self):
        raise Stopped

    def bundle(self):
        return self._bundle.digest

    def fingerprint(self):
        return self._named

    def judge_parts(self, job, parts, advanced):
        return judge_here(self.judge, job, parts, advanced)

    def judge(self, texts):
        if self._left == 0:
            self._stop()
        if self._left is not None:
            self._left -= 1
        self.texts.extend(texts)
        return self._judge.judge(texts)


class Watcher:
    """Remembers what it was told."""

    def __init__(self):
        self.before = None
        self.seen = []

    def begun(self, before, rows):
        self.before = (before, rows)

    def judged(self, done, rows):
        self.seen.append(done)

    def joined(self, done, rows):
        pass


def write_rows(path, rows, group=None):
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=group)
    elif path.suffix == ".csv":
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def make_source(folder, extension, rows=ROWS):
    texts = [f"row {i}, “text”\nmore" if i % 5 else "" for i in range(rows)]
    return write_rows(folder / f"in.{extension}", [{"id": i, "text": text} for i, text in enumerate(texts)], group=3)


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def run(workers, source, target, options=OPTIONS):
    watcher = Watcher()
    return judge_in_parts(workers, TableFiles(source, target, options), watcher), watcher


@pytest.fixture
def stopped(bundle, tmp_path):
    """A run of the JSONL table that was stopped in its third part, with two parts finished."""
    source, target = make_source(tmp_path, "jsonl"), tmp_path / "out.jsonl"
    with pytest.raises(Stopped):
        run(Workers(bundle, stop_after=5), source, target)
    return source, target


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("stop_after", range(6))
def test_a_stopped_run_goes_on_and_ends_as_if_it_had_not_been(extension, stop_after, bundle, tmp_path):
    source, target = make_source(tmp_path, extension), tmp_path / f"out.{extension}"
    whole, _ = run(Workers(bundle), source, tmp_path / f"whole.{extension}")
    first = Workers(bundle, stop_after)
    with pytest.raises(Stopped):
        run(first, source, target)
    assert not target.exists()
    finished = stop_after * BLOCK // PART * PART

    second = Workers(bundle)
    tally, watcher = run(second, source, target)

    assert tally == whole
    assert target.read_bytes() == (tmp_path / f"whole.{extension}").read_bytes()
    assert watcher.before == (finished, ROWS)
    assert watcher.seen == [*range(finished + BLOCK, ROWS, BLOCK), ROWS]
    assert len(second.texts) == ROWS - finished
    askable = [text for text in second.texts if text]
    assert second.engine.queries_seen == len(bundle.prompts) * len(askable)
    assert names(tmp_path) == sorted([source.name, target.name, f"whole.{extension}"])


def test_judging_in_one_go_gives_the_same_bytes(bundle, tmp_path):
    source = make_source(tmp_path, "csv")
    run(Workers(bundle), source, tmp_path / "a.jsonl")
    judge_table(BundleJudge(bundle, FakeEngine()).judge, source, tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


def _in_a_child_that_dies(work):
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL


def test_kill_9_in_a_part_loses_that_part_only(bundle, tmp_path):
    source, target = make_source(tmp_path, "csv"), tmp_path / "out.csv"
    run(Workers(bundle), source, tmp_path / "whole.csv")
    _in_a_child_that_dies(lambda: run(Workers(bundle, 3, stop=_die), source, target))
    assert names(target.with_name("out.csv.parts")) == ["lock", "part-000000.jsonl", "plan.json"]

    workers = Workers(bundle)
    _, watcher = run(workers, source, target)

    assert watcher.before == (PART, ROWS)
    assert len(workers.texts) == ROWS - PART
    assert target.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_kill_9_while_the_output_is_written_loses_no_verdict(bundle, tmp_path):
    source, target = make_source(tmp_path, "jsonl"), tmp_path / "out.jsonl"

    class Dying(Watcher):
        def joined(self, done, rows):
            _die()

    _in_a_child_that_dies(lambda: judge_in_parts(Workers(bundle), TableFiles(source, target, OPTIONS), Dying()))
    assert not target.exists()
    assert "output.partial" in names(target.with_name("out.jsonl.parts"))

    workers = Workers(bundle)
    tally, watcher = run(workers, source, target)

    assert watcher.before == (ROWS, ROWS)
    assert workers.texts == []
    assert tally.rows == len(target.read_text().splitlines()) == ROWS
    assert names(tmp_path) == ["in.jsonl", "out.jsonl"]


def test_a_run_without_a_finished_part_leaves_nothing(bundle, tmp_path):
    source = make_source(tmp_path, "jsonl")
    with pytest.raises(Stopped):
        run(Workers(bundle, stop_after=1), source, tmp_path / "out.jsonl")
    assert names(tmp_path) == ["in.jsonl"]


OTHERWISE = {
    "text column": ({"text_column": "id2"}, {}, "text column 'text' there, 'id2' now"),
    "prefix": ({"prefix": "p_"}, {}, "prefix 'judge_' there, 'p_' now"),
    "part rows": ({"part_rows": 5}, {}, "rows per part 4 there, 5 now"),
    "judge": ({}, {"judge": "other"}, "judge judge there, other now"),
}


@pytest.mark.parametrize("name", OTHERWISE)
def test_other_settings_than_the_plans_are_refused(name, bundle, tmp_path):
    options, judge, says = OTHERWISE[name]
    rows = [{"text": f"text {i}", "id2": f"other {i}"} for i in range(ROWS)]
    source, target = write_rows(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    with pytest.raises(Stopped):
        run(Workers(bundle, stop_after=5), source, target)
    kept = names(target.with_name("out.jsonl.parts"))
    workers = Workers(bundle, **judge)

    with pytest.raises(TableError) as raised:
        run(workers, source, target, OPTIONS.model_copy(update=options))

    assert says in str(raised.value)
    assert "or throw those parts away with --restart" in str(raised.value)
    assert workers.texts == []
    assert names(target.with_name("out.jsonl.parts")) == kept


def test_another_bundle_is_refused(stopped, make_bundle):
    with pytest.raises(TableError, match=r"the 2 parts judged before were judged otherwise \(bundle [0-9a-f]{12} th"):
        run(Workers(make_bundle(name="another")), *stopped)


def test_another_input_is_refused_and_the_same_under_another_name_is_not(stopped, bundle):
    source, target = stopped
    moved = source.rename(source.with_name("moved.jsonl"))
    changed = source.with_name("in.jsonl")
    changed.write_text(moved.read_text().replace("row 1,", "Row 1,"), encoding="utf-8")
    with pytest.raises(TableError, match=r"judged otherwise \(input [0-9a-f]{12} there, [0-9a-f]{12} now\)"):
        run(Workers(bundle), changed, target)

    assert run(Workers(bundle), moved, target)[1].before == (8, ROWS)


def test_restart_judges_everything_again(stopped, bundle):
    source, target = stopped
    workers = Workers(bundle, judge="another")
    tally, watcher = run(workers, source, target, OPTIONS.model_copy(update={"restart": True}))
    assert watcher.before == (0, ROWS)
    assert len(workers.texts) == tally.rows == ROWS
    assert not target.with_name("out.jsonl.parts").exists()


DAMAGE = {
    "truncated": lambda content: content[:-20],
    "whole lines missing": lambda content: b"".join(content.splitlines(keepends=True)[:-1]),
    "empty": lambda content: b"",
    "one letter": lambda content: content.replace(b"null", b"nill", 1),
    "not text": lambda content: bytes(100),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_part_is_judged_again(name, stopped, bundle, tmp_path):
    source, target = stopped
    run(Workers(bundle), source, tmp_path / "whole.jsonl")
    part = target.with_name("out.jsonl.parts") / "part-000000.jsonl"
    part.write_bytes(DAMAGE[name](part.read_bytes()))

    workers = Workers(bundle)
    _, watcher = run(workers, source, target)

    assert watcher.before == (4, ROWS)
    assert len(workers.texts) == ROWS - 4
    assert workers.texts[1] == "row 1, “text”\nmore"
    assert target.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_part_that_is_not_its_own_is_judged_again(stopped, bundle, tmp_path):
    source, target = stopped
    run(Workers(bundle), source, tmp_path / "whole.jsonl")
    folder = target.with_name("out.jsonl.parts")
    shutil.copy(folder / "part-000000.jsonl", folder / "part-000001.jsonl")
    PartFiles(folder, "another plan").write(0, [(None,) * 8] * 4, TableTally(rows=4, unjudged=4))

    workers = Workers(bundle)
    run(workers, source, target)

    assert len(workers.texts) == ROWS
    assert target.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_a_part_that_is_damaged_before_the_output_is_written_stops_the_run(stopped, bundle):
    source, target = stopped
    part = target.with_name("out.jsonl.parts") / "part-000000.jsonl"

    def damage():
        part.write_bytes(part.read_bytes()[:50])
        workers._left = None

    workers = Workers(bundle, stop_after=0, stop=damage)
    with pytest.raises(TableError, match="the verdicts of a part are damaged; run the same command again"):
        run(workers, source, target)
    assert not target.exists()

    assert run(Workers(bundle), source, target)[1].before == (7, ROWS)


def test_a_second_process_is_refused_and_the_first_is_not_disturbed(bundle, tmp_path):
    source, target = make_source(tmp_path, "jsonl"), tmp_path / "out.jsonl"
    refusals = []

    def second():
        first._left = None
        with pytest.raises(TableError, match="another process is judging into this file; wait for it") as raised:
            run(Workers(bundle), source, target)
        refusals.append(str(raised.value))

    first = Workers(bundle, stop_after=3, stop=second)
    tally, _ = run(first, source, target)

    assert len(refusals) == 1
    assert tally.rows == len(target.read_text().splitlines()) == ROWS
    assert names(tmp_path) == ["in.jsonl", "out.jsonl"]


def test_a_folder_of_somebody_else_is_left_alone(bundle, tmp_path):
    source = make_source(tmp_path, "jsonl")
    (tmp_path / "out.jsonl.parts").mkdir()
    (tmp_path / "out.jsonl.parts" / "thesis.txt").write_text("precious")
    options = OPTIONS.model_copy(update={"restart": True})
    with pytest.raises(TableError, match=r"holds 'thesis.txt', which is no part of a table"):
        run(Workers(bundle), source, tmp_path / "out.jsonl", options)
    assert names(tmp_path / "out.jsonl.parts") == ["thesis.txt"]


def test_a_plan_that_cannot_be_read_is_explained(stopped, bundle):
    source, target = stopped
    (target.with_name("out.jsonl.parts") / "plan.json").write_text("{")
    with pytest.raises(TableError, match=r"plan\.json: is not the plan of a judged table; begin anew with --restart"):
        run(Workers(bundle), source, target)
    assert run(Workers(bundle), source, target, OPTIONS.model_copy(update={"restart": True}))[0].rows == ROWS


@pytest.mark.parametrize("extension", FORMATS)
def test_an_input_that_changes_while_it_is_judged_is_noticed(extension, bundle, tmp_path):
    source, target = make_source(tmp_path, extension), tmp_path / f"out.{extension}"

    def change():
        make_source(tmp_path, extension, rows=ROWS + 1)
        workers._left = None

    workers = Workers(bundle, stop_after=5, stop=change)
    with pytest.raises(TableError, match=r"the input was changed while it was judged"):
        run(workers, source, target)
    assert not target.exists()


def test_judging_in_one_go_leaves_the_parts_of_another_run_alone(stopped, bundle):
    source, target = stopped
    judge_table(BundleJudge(bundle, FakeEngine()).judge, source, target)
    assert "part-000001.jsonl" in names(target.with_name("out.jsonl.parts"))


@pytest.mark.parametrize("extension", FORMATS)
def test_a_table_without_rows_needs_no_parts(extension, bundle, tmp_path):
    source = write_rows(tmp_path / "in.csv", [{"text": "a"}])
    source.write_text("text\n")
    assert run(Workers(bundle), source, tmp_path / f"out.{extension}")[0] == TableTally()
    assert names(tmp_path) == ["in.csv", f"out.{extension}"]


LETTERS = st.text(st.sampled_from("a\",'\r\n\0 \u2028é") | st.characters(codec="utf-8"), max_size=9)


@settings(max_examples=40, deadline=None)
@given(texts=st.lists(LETTERS, max_size=12), stretch=st.integers(1, 5), group=st.integers(1, 5), blank=st.booleans())
@pytest.mark.parametrize("extension", FORMATS)
def test_every_stretch_can_be_read_by_itself(extension, texts, stretch, group, blank):
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"in.{extension}"
        if extension == "parquet":
            pq.write_table(pa.table({"n": range(len(texts)), "text": pa.array(texts, pa.string())}), path, group)
        elif extension == "csv":
            with path.open("w", encoding="utf-8-sig", newline="") as stream:
                end = "\r\n\n" if blank else "\n"
                csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator=end).writerows(
                    [("id", "text"), *enumerate(texts)]
                )
        else:
            end = "\r\n \n" if blank else "\n"
            path.write_bytes(b"\xef\xbb\xbf" + "".join(json.dumps({"text": t}) + end for t in texts).encode())
        reader = READERS[extension](path, "text")
        shape = reader.scan(stretch)
        found = [list(islice(reader.texts(start), stretch)) for start in shape.starts]
        blocks = sum(block.size for block in reader.blocks(2))
    assert [start.row for start in shape.starts] == list(range(0, len(texts), stretch))
    assert [text for part in found for text in part] == texts
    assert blocks == shape.rows == len(texts)


@pytest.mark.parametrize("extension", ["jsonl", "csv"])
def test_a_fault_in_a_later_part_still_has_its_line(extension, tmp_path):
    source = make_source(tmp_path, extension)
    reader = READERS[extension](source, "text")
    last = reader.scan(PART).starts[-1]
    with source.open("a", encoding="utf-8") as stream:
        stream.write("[1]\n" if extension == "jsonl" else "1,2,3\n")
    # 11 rows of one line each, or a header and 8 rows of two lines, the others being empty texts of one
    line = 12 if extension == "jsonl" else 21
    with pytest.raises(TableError, match=rf"in\.{extension}:{line}: "):
        list(reader.texts(last))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from([None, "violation"]),
            st.none() | st.floats(0, 1),
            st.none() | LETTERS,
            st.none() | st.integers(0, 4),
            st.none() | LETTERS,
            st.none() | st.booleans(),
            st.booleans(),
            st.none() | st.text(st.sampled_from("a\ud83d\u2028\x85\r\n"), max_size=5),
        ),
        max_size=5,
    )
)
def test_verdicts_survive_in_part_files(rows):
    with TemporaryDirectory() as folder:
        files = PartFiles(Path(folder), "plan")
        files.write(3, rows, TableTally(rows=len(rows)))
        assert [tuple(row) for row in files.verdicts(3)] == rows
        assert files.tally(3) == TableTally(rows=len(rows))
        assert names(Path(folder)) == ["part-000003.jsonl"]


def _peak(extension, rows):
    """Largest memory held, in bytes: Python's own, or Arrow's for Parquet."""
    verdict = Verdict(label=Label.ALLOWED, probability=0.25, severity=0)
    arrow = [0]

    class Measuring(Watcher):
        def judged(self, done, rows):
            arrow[0] = max(arrow[0], pa.total_allocated_bytes())

        joined = judged

    class Constant(Workers):
        def judge(self, texts):
            return [verdict] * len(texts)

    with TemporaryDirectory() as folder:
        source = Path(folder) / f"in.{extension}"
        write_rows(source, [{"id": i, "text": f"a short text {i * 7919}"} for i in range(rows)], group=10_000)
        table = TableFiles(source, Path(folder) / f"out.{extension}", TableOptions(part_rows=1000, block=250))
        workers = Constant.__new__(Constant)
        workers._bundle, workers._named = type("Named", (), {"digest": "0"}), "constant"
        tracemalloc.start()
        try:
            judge_in_parts(workers, table, Measuring())
            return max(tracemalloc.get_traced_memory()[1], arrow[0])
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("extension", FORMATS)
def test_memory_does_not_grow_with_the_table(extension):
    _peak(extension, 2_000)  # what is loaded or cached once is not the table's
    # Arrow holds a row group at a time, of 10,000 rows in this input and 16,384 in the output
    few, many = (20_000, 80_000) if extension == "parquet" else (6_000, 24_000)
    assert _peak(extension, many) < 1.1 * _peak(extension, few)
