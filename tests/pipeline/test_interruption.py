"""Processes that are interrupted or killed, and what is left of their work."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from promptopt.commands.sweep import sweep

DEADLINE_SECONDS = 60


class Prompt(random.Random):
    """Kills come soon after an engine call, because the fake judge is fast."""

    def uniform(self, a, b):
        return super().uniform(a, b / 25)


class ForkedSweep:
    """Stands in for ``subprocess.Popen``: a process of its own, without the seconds that imports take."""

    def __init__(self, command, **_):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["promptopt.commands.sweep", "promptopt.tracking.figures", "hydra"])
        self._process = context.Process(target=sweep, args=(command[command.index("--json") + 1 :], True))
        self._process.start()

    def poll(self):
        return self._process.exitcode

    def kill(self):
        self._process.kill()

    def wait(self):
        self._process.join()
        return self._process.exitcode


def _hear_ctrl_c():
    """A shell's background jobs ignore Ctrl-C, and so would everything that tests in such a job start."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_ten_kills_change_nothing(kill_resume, tmp_path, small_overrides, monkeypatch):
    monkeypatch.setattr(kill_resume, "random", SimpleNamespace(Random=Prompt))
    monkeypatch.setattr(kill_resume, "subprocess", SimpleNamespace(Popen=ForkedSweep, DEVNULL=None))
    overrides = [*(o for o in small_overrides if not o.startswith("name=")), "tracking=none", "search.budget.trials=50"]

    outcome = kill_resume.compare_runs(tmp_path, kills=10, seed=0, overrides=overrides)

    assert outcome["kills"] == 10
    assert outcome["same_winner"]
    assert outcome["same_trials"]
    assert outcome["same_scores"]
    assert outcome["judged_twice"] == 0


@pytest.mark.slow
def test_ctrl_c_ends_in_one_line_and_the_same_command_goes_on(kill_resume, tmp_path, small_overrides):
    overrides = [*small_overrides, f"runs_dir={tmp_path}", "tracking=none", "search.budget.trials=60"]
    command = [sys.executable, "-m", "promptopt", "sweep", "--json", *overrides]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    )
    deadline = time.monotonic() + DEADLINE_SECONDS
    while kill_resume.count(tmp_path, "engine_calls") < 5 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=DEADLINE_SECONDS)
    calls = kill_resume.count(tmp_path, "engine_calls")

    assert process.returncode == 130
    assert stdout == ""
    assert "Traceback" not in stderr
    lines = stderr.strip().splitlines()
    assert lines[-1] == "promptopt: interrupted; nothing is lost, run the same command again to go on"
    assert sum("interrupted" in line for line in lines) == 1

    resumed = subprocess.run(command, capture_output=True, text=True, check=True)
    summary = json.loads(resumed.stdout)
    assert "resuming after" in resumed.stderr
    assert summary["candidates"] == 60
    assert 5 <= calls < kill_resume.count(tmp_path, "engine_calls")
    assert summary["judgements"] == kill_resume.count(tmp_path, "scores")
