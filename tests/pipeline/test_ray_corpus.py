"""Ray Data over the parts of a table: the same bytes as in one process, whatever happens to the workers."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from promptopt.bundle.files import read_bundle, write_bundle
from promptopt.bundle.parts_work import judge_here
from promptopt.bundle.runtime import BundleJudge
from promptopt.bundle.tables import TableFiles, TableOptions, judge_in_parts, judge_table
from promptopt.engines.fake import FakeEngine
from promptopt.errors import BundleError, EngineError
from promptopt.judges.config import RayOptions
from promptopt.pipeline import ray_corpus
from promptopt.pipeline.ray_corpus import JudgeSetup, RayWorkers

ROOT = Path(__file__).resolve().parents[2]
ROWS, PART = 1000, 100
OPTIONS = TableOptions(part_rows=PART, block=32)
pytestmark = pytest.mark.slow


class Watcher:
    """Remembers what it was told."""

    def __init__(self):
        self.before = 0
        self.seen = []

    def begun(self, before, rows):
        self.before = before

    def judged(self, done, rows):
        self.seen.append(done)

    def joined(self, done, rows):
        pass


@pytest.fixture(scope="module")
def corpus():
    spec = importlib.util.spec_from_file_location("bench_corpus", ROOT / "scripts" / "bench_corpus.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bundle(corpus, tmp_path_factory):
    return write_bundle(corpus.fake_bundle(), tmp_path_factory.mktemp("bundle") / "fake")


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.data")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=128 << 20)
    yield ray
    ray.shutdown()


@pytest.fixture(params=["jsonl", "csv", "parquet"])
def table(request, corpus, tmp_path):
    source = tmp_path / f"in.{request.param}"
    corpus.write_corpus(source, ROWS)
    return TableFiles(source, tmp_path / f"out.{request.param}", OPTIONS)


@pytest.fixture
def jsonl(corpus, tmp_path):
    corpus.write_corpus(tmp_path / "in.jsonl", ROWS)
    return TableFiles(tmp_path / "in.jsonl", tmp_path / "out.jsonl", OPTIONS)


def workers_for(bundle, any_judge=False, actors=2, **judge):
    found = read_bundle(bundle)
    setup = JudgeSetup(bundle, found.digest, {**found.judge, **judge}, any_judge)
    return RayWorkers(setup, RayOptions(engine="fake", actors=actors))


def run(workers, table):
    watcher = Watcher()
    try:
        return judge_in_parts(workers, table, watcher), watcher
    finally:
        workers.close()


def alone(bundle, table):
    """What one process writes."""
    path = table.target.with_name(f"alone{table.target.suffix}")
    tally = judge_table(BundleJudge(read_bundle(bundle), FakeEngine()).judge, table.source, path, table.options)
    return tally, path.read_bytes()


def test_workers_write_what_one_process_writes(bundle, table):
    workers = workers_for(bundle)

    tally, watcher = run(workers, table)

    assert (tally, table.target.read_bytes()) == alone(bundle, table)
    assert watcher.seen == list(range(PART, ROWS + 1, PART))
    assert workers.queries == ROWS
    assert not table.parts.exists()


def test_parts_of_an_earlier_run_are_not_judged_again(bundle, jsonl):
    class Stopped(BaseException):
        pass

    judge = BundleJudge(read_bundle(bundle), FakeEngine()).judge
    left = [16]  # four blocks of 32, 32, 32 and 4 rows make a part

    def stopping(texts):
        if not left[0]:
            raise Stopped
        left[0] -= 1
        return judge(texts)

    here = workers_for(bundle)
    here.judge_parts = lambda job, parts, advanced: judge_here(stopping, job, parts, advanced)
    with pytest.raises(Stopped):
        run(here, jsonl)

    workers = workers_for(bundle)
    tally, watcher = run(workers, jsonl)

    assert (tally, jsonl.target.read_bytes()) == alone(bundle, jsonl)
    assert watcher.before == 4 * PART
    assert workers.queries == ROWS - 4 * PART


def dying(folder, moment):
    """Workers that are killed once, before or after they have judged part 3."""

    class Dying(ray_corpus._Worker):
        def _outcome(self, part):
            if moment == "after" and part.number == 3:
                super()._outcome(part)
            if part.number == 3 and not (folder / "died").exists():
                (folder / "died").write_text(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
            return super()._outcome(part)

    return Dying


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_worker_that_is_killed_changes_nothing(moment, bundle, jsonl, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_corpus, "_Worker", dying(tmp_path, moment))
    workers = workers_for(bundle)

    tally, watcher = run(workers, jsonl)

    assert (tmp_path / "died").exists()
    assert (tally, jsonl.target.read_bytes()) == alone(bundle, jsonl)
    assert watcher.seen == list(range(PART, ROWS + 1, PART))
    # a part that its worker had finished before it died is not judged again, and no other part was touched
    assert workers.queries == ROWS - (PART if moment == "after" else 0)


def test_a_part_that_kills_every_worker_is_given_up(bundle, jsonl, monkeypatch):
    class Deadly(ray_corpus._Worker):
        def _outcome(self, part):
            self._open = self._setup.open()
            if part.number == 5:
                self._open.judge.judge = lambda texts: os.kill(os.getpid(), signal.SIGKILL)
            return super()._outcome(part)

    monkeypatch.setattr(ray_corpus, "_Worker", Deadly)
    with pytest.raises(EngineError, match="a worker died on part 5 4 times over; give each worker more memory"):
        run(workers_for(bundle), jsonl)
    assert not jsonl.target.exists()
    assert "part-000000.jsonl" in os.listdir(jsonl.parts)


def test_a_workers_user_error_comes_out_as_it_is(bundle, jsonl):
    with pytest.raises(EngineError) as raised:
        run(workers_for(bundle, engine="local", model=str(bundle / "nothing")), jsonl)
    assert str(bundle / "nothing") in str(raised.value)
    assert "\n" not in str(raised.value)
    assert not jsonl.parts.exists()


def test_workers_with_another_judge_are_refused(bundle, corpus, jsonl, tmp_path):
    card = FakeEngine(seed=1).describe()
    other = corpus.fake_bundle().model_copy(update={"engine": card.to_dict(), "fingerprint": card.fingerprint})
    folder = write_bundle(other, tmp_path / "other")
    with pytest.raises(BundleError, match="the bundle was measured on another judge"):
        run(workers_for(folder), jsonl)

    tally, _ = run(workers_for(folder, any_judge=True), jsonl)
    assert tally.rows == ROWS


def test_more_actors_than_there_is_room_for_are_refused(bundle, jsonl):
    workers = workers_for(bundle, actors=64)
    with pytest.raises(EngineError, match="64 workers need 64 CPUs, and the cluster has 2; ask for fewer"):
        run(workers, jsonl)


def test_the_command_is_silent_but_for_its_outcome(bundle, jsonl):
    command = [sys.executable, "-m", "promptopt", "judge", "--bundle", bundle, "--in", jsonl.source]
    command += ["--out", jsonl.target, "--engine", "ray", "--actors", "2", "--part-rows", str(PART), "--json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}

    called = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)

    assert json.loads(called.stdout)["rows"] == ROWS
    assert called.stderr == ""
    assert jsonl.target.read_bytes() == alone(bundle, jsonl)[1]
