"""A score is paid for once, whoever pays, and whatever ends the process that paid."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from uuid import uuid4

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.exc import IntegrityError

from promptopt.errors import UserError
from promptopt.scores.store import ScoreStore, Spent, StoredScore

FLOATS = st.floats(width=32, allow_nan=False, max_value=0.0) | st.just(-np.inf)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(FLOATS, min_size=2, max_size=5), st.integers(0, 10**6))
def test_every_bit_comes_back(store, logprobs, dropped):
    prompt = uuid4().hex  # never one that an earlier example has written
    written = StoredScore(np.array(logprobs, dtype=np.float32), dropped)
    store.write("engine", {prompt: {"case": written}})
    found = store.read("engine", prompt, ["case"])["case"]
    assert found.logprobs.dtype == np.float32
    assert found.logprobs.tobytes() == written.logprobs.tobytes()
    assert found.dropped_tokens == dropped


def test_scores_belong_to_engine_prompt_and_case(store, score):
    store.write("e1", {"p1": {"c1": score(-1, -2)}, "p2": {}})
    assert set(store.read("e1", "p1", ["c1", "c2"])) == {"c1"}
    assert store.read("e1", "p2", ["c1"]) == {}
    assert store.read("e2", "p1", ["c1"]) == {}
    assert store.read("e1", "p1", []) == {}


def test_many_cases_are_looked_up(store, score):
    cases = {f"case-{i:05d}": score(-i / 1000, -1) for i in range(1700)}
    store.write("e", {"p": cases})
    found = store.read("e", "p", [*cases, "unknown"])
    assert found.keys() == cases.keys()
    assert all(found[name].logprobs[0] == cases[name].logprobs[0] for name in cases)


def test_what_is_there_is_never_overwritten(store, score):
    store.write("e", {"p": {"c1": score(-1, -2)}})
    store.write("e", {"p": {"c1": score(-3, -4, dropped=7), "c2": score(-5, -6)}})
    found = store.read("e", "p", ["c1", "c2"])
    assert found["c1"].logprobs.tolist() == [-1, -2]
    assert found["c1"].dropped_tokens == 0
    assert found["c2"].logprobs.tolist() == [-5, -6]


def test_what_is_spent_is_summed_by_study_over_all_processes(store, url, score):
    store.write("e", {"p": {"c": score(-1, -2)}}, study="a", cost=Spent(3, 10, 30, 0.5))
    store.write("e", {}, study="a", cost=Spent(1, 2**40, 3, 0.25))
    store.write("e", {"p": {"d": score(-1, -2)}}, study="b", cost=Spent(9, 9, 9, 9.0))
    store.write("e", {"p": {"f": score(-1, -2)}})
    other = ScoreStore(url)
    assert other.spent("a") == Spent(4, 10 + 2**40, 33, 0.75)
    assert other.spent("b") == Spent(9, 9, 9, 9.0)
    assert other.spent("nobody") == Spent()
    other.close()


class _Unwritable:
    """Fails when it is serialised: after other rows of the same call were sent."""

    dropped_tokens = 0

    @property
    def logprobs(self):
        raise RuntimeError("killed here")


def test_scores_and_cost_are_written_together_or_not_at_all(store, score):
    with pytest.raises(RuntimeError, match="killed here"):
        store.write("e", {"p1": {"c": score(-1, -2)}, "p2": {"c": _Unwritable()}}, study="s", cost=Spent(2, 2, 2, 1.0))
    assert list(store.dump()) == []
    assert store.spent("s") == Spent()
    with pytest.raises(IntegrityError):
        store.write("e", {"p1": {"c": score(-1, -2)}}, study="s", cost=Spent(None, 2, 2, 1.0))
    assert list(store.dump()) == []


def test_dumps_are_sorted_and_comparable(store, score):
    store.write("e2", {"p": {"c": score(-1, -2)}})
    store.write("e1", {"q": {"d": score(-1, -2), "c": score(-3, -4)}, "p": {"c": score(-5, -6)}})
    rows = list(store.dump())
    assert [row[:3] for row in rows] == [("e1", "p", "c"), ("e1", "q", "c"), ("e1", "q", "d"), ("e2", "p", "c")]
    assert rows[0][3] == np.array([-5, -6], dtype="<f4").tobytes()


def test_threads_that_write_the_same_scores_agree(url, score):
    """Each thread opens the new database itself and writes the same prompts in an order of its own."""
    faults = []

    def write(number):
        try:
            own = ScoreStore(url)
            draw = random.Random(number)
            for call in range(6):
                prompts = [f"p{call}-{i}" for i in range(4)]
                draw.shuffle(prompts)
                scores = {p: {f"c{i}": score(-number, -1) for i in range(5)} for p in prompts}
                own.write("e", scores, study="s", cost=Spent(20, 20, 20, 0.0))
            own.close()
        except Exception as fault:  # noqa: BLE001 (a thread's fault is the test's)
            faults.append(fault)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    store = ScoreStore(url)
    rows = list(store.dump())
    assert len(rows) == len({row[:3] for row in rows}) == 6 * 4 * 5
    assert store.spent("s").judgements == 4 * 6 * 20, "who judged twice has paid twice"
    store.close()


WRITER = """
import sys
import numpy as np
from promptopt.scores.store import ScoreStore, Spent, StoredScore

url, run, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = ScoreStore(url)
print("open", flush=True)
for call in range(calls):
    by_case = {f"{run}-{call}-{i}": StoredScore(np.array([-1, -2], dtype=np.float32)) for i in range(25)}
    store.write("e", {"p": by_case, "q": by_case}, study="s", cost=Spent(50, 50, 50, 0.1))
    print(call, flush=True)
"""


def _start(url, run, calls):
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, run, str(calls)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def _whole_calls(store):
    """Calls in the store as ``run-call``, after checking that none is there in part."""
    counts = Counter(row[2].rpartition("-")[0] for row in store.dump())
    assert set(counts.values()) <= {50}
    assert store.spent("s").judgements == 50 * len(counts), "scores and their cost go together"
    return set(counts)


def test_processes_that_write_at_once_lose_nothing(url):
    writers = [_start(url, f"run{i}", 20) for i in range(2)]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert writer.returncode == 0, errors
    store = ScoreStore(url)
    assert len(_whole_calls(store)) == 2 * 20
    store.close()


def test_a_killed_process_leaves_whole_calls_and_all_that_it_reported(url):
    draw = random.Random(7)
    reported = set()
    for kill in range(2):
        writer = _start(url, f"run{kill}", 10**9)
        assert writer.stdout.readline() == "open\n"
        time.sleep(draw.uniform(0.02, 0.25))
        writer.send_signal(signal.SIGKILL)
        lines, _ = writer.communicate(timeout=60)
        reported |= {f"run{kill}-{line}" for line in lines.split("\n")[:-1]}
        store = ScoreStore(url)
        assert _whole_calls(store) >= reported
        store.close()
    assert reported, "nothing was ever written, so nothing was tested"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql+psycopg://me:secret@127.0.0.1:1/db", "cannot be opened"),
        ("nodialect://me:secret@host/db", "cannot be opened"),
        ("no address at all", "cannot be opened"),
        ("sqlite:////proc/absent/scores.db", "cannot be opened"),
    ],
)
def test_a_store_that_cannot_be_opened_says_so_and_keeps_passwords(url, said):
    with pytest.raises(UserError, match=said) as caught:
        ScoreStore(url)
    assert "secret" not in str(caught.value)
    assert "scores_url" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "scores.db").write_text("not a database, but long enough to be taken for one " * 40)
    with pytest.raises(UserError, match="not a database"):
        ScoreStore(f"sqlite:///{tmp_path / 'scores.db'}")


def test_a_store_that_stops_taking_writes_says_so(tmp_path, score):
    path = tmp_path / "scores.db"
    store = ScoreStore(f"sqlite:///{path}")
    store.write("e", {"p": {"c": score(-1, -2)}})
    with store._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA query_only=ON")
    with pytest.raises(UserError, match=r"the score store cannot be written \(attempt to write a readonly database\)"):
        store.write("e", {"p": {"d": score(-1, -2)}})
    store.close()
