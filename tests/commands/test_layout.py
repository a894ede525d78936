"""What people see: nothing wrapped at 100 columns, nothing cut off at 80, next steps that work when they are pasted."""

from __future__ import annotations

import io
import re
import shlex
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from promptopt.commands.output import console, count, program, with_interval
from promptopt.commands.progress import RichDisplay
from promptopt.commands.sweep import print_outcome
from promptopt.config import load_config
from promptopt.metrics.intervals import Interval
from promptopt.pipeline.run_sweep import run_sweep
from promptopt.pipeline.summary import summarise_sweep
from promptopt.scores.store import Spent

ROOT = Path(__file__).resolve().parents[2]
INTERVAL = re.compile(r"\d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\]")


class Silent:
    """A display that shows nothing."""

    def __getattr__(self, name):
        return lambda *_: None


@pytest.fixture(scope="module")
def outcome(runs, small_sweep):
    """The finished sweep ``one``, run once more."""
    return run_sweep(load_config([*small_sweep, f"runs_dir={runs}", "name=one", "tracking=mlflow"]), Silent())


@pytest.fixture(scope="module")
def show(ok, outcome, runs, imported):
    """What a command prints at a width."""
    bundle = runs / "one" / "bundle"
    commands = {
        "compare": ["compare", "one", "a-sweep-with-a-long-name-seed1", "--runs-dir", runs],
        "bundle show": ["bundle", "show", bundle],
        "bundle verify": ["bundle", "verify", bundle],
        "golden show": ["golden", "show", imported],
        "golden show authored": ["golden", "show", ROOT / "data" / "golden" / "political"],
        "models list": ["models", "list"],
    }

    def at(name, width):
        if name != "sweep":
            return ok(*commands[name], columns=width).out
        out = Console(width=width, file=io.StringIO(), highlight=False)
        print_outcome(outcome, summarise_sweep(outcome), out)
        return out.file.getvalue()

    return at


NAMES = ["sweep", "compare", "bundle show", "bundle verify", "golden show", "golden show authored", "models list"]


def _rows(text):
    """Rows of the tables, cells separated by one blank, whatever the widths."""
    return [re.sub(r"\s{2,}", "  ", line.strip()) for line in text.splitlines() if re.search(r"\S\s{2,}\S", line)]


@pytest.mark.parametrize("name", NAMES)
def test_tables_are_whole_at_100_columns(show, name):
    narrow, wide = show(name, 100), show(name, 300)

    assert _rows(narrow) == _rows(wide)
    for line in narrow.splitlines():
        assert len(line.rstrip()) <= 100 or _is_for_copying(line)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_cut_off_at_80_columns(show, name):
    narrow, wide = show(name, 80), show(name, 300)

    assert "…" not in narrow
    assert sorted(INTERVAL.findall(narrow)) == sorted(INTERVAL.findall(wide))
    assert sorted(narrow.replace("-", "- ").split()) == sorted(wide.replace("-", "- ").split())


def _is_for_copying(line):
    return line.startswith("  ") or line.split()[0] in ("bundle", "plots", "MLflow", "files")


def test_sweep_prints_the_comparison_the_places(show, runs):
    shown = show("sweep", 300)

    assert re.search(r"^Sealed test of violence: \d+ cases, \d+ violations, 95% intervals$", shown, re.M)
    for row in ("AUPRC", "AUROC", "recall at precision 0.8", "precision at threshold", "F1 at threshold"):
        assert re.search(rf"^{re.escape(row)} .*\d\.\d{{3}}", shown, re.M)
    assert "4 candidates, " in shown
    assert "% of the full search grid of " in shown
    assert "has been opened" in shown
    assert f"bundle   {runs / 'one' / 'bundle'}\n" in shown
    assert f"plots    {runs / 'one' / 'plots'}/*.html\n" in shown
    assert f"MLflow   sqlite:///{runs / 'mlflow.db'}\n" in shown


def test_next_steps_of_a_sweep_work(ok, show, texts, in_tmp_path):
    shown = show("sweep", 80)
    verify, judge, view = (shlex.split(line) for line in shown.split("Next\n")[1].splitlines() if line[:2] == "  ")

    assert Path(verify[0]).name == Path(judge[0]).name == "promptopt"
    assert "verified" in ok(*verify[1:]).out
    ok(*judge[1:])
    assert len((in_tmp_path / "judged.jsonl").read_text().splitlines()) == 5
    assert view[0] == "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false"
    assert Path(view[1]).name == "mlflow"


def test_judges_are_told_apart_where_several_were_searched(outcome):
    def row(summary):
        out = Console(width=200, file=io.StringIO())
        print_outcome(outcome, summary, out)
        return [line.split() for line in _rows(out.file.getvalue()) if line.startswith("judge")]

    one = summarise_sweep(outcome)
    parts = {"seed_prompt": (one.seed_prompt, "small"), "winner": (one.winner, "[large]")}
    chosen = {
        name: part.model_copy(update={"choices": {**part.choices, "judge": judge}})
        for name, (part, judge) in parts.items()
    }

    assert row(one) == []
    assert row(one.model_copy(update=chosen)) == [["judge", "small", "[large]"]]


@pytest.mark.parametrize("feasible", [True, False])
def test_threshold_that_misses_its_criterion_is_pointed_out(outcome, feasible):
    winner = outcome.comparison.winner
    point = winner.operating_point.model_copy(update={"feasible": feasible, "note": "nothing reaches it"})
    operation = replace(winner.operation, point=point)
    comparison = replace(outcome.comparison, winner=replace(winner, operation=operation))
    out = Console(width=200, file=io.StringIO())

    print_outcome(replace(outcome, comparison=comparison), summarise_sweep(outcome), out)

    said = "The winner misses its criterion on the calibration split: nothing reaches it." in out.file.getvalue()
    assert said is not feasible


def test_prompts_are_shown_on_request_only(ok, bundle):
    assert "Does the text violate" not in ok("bundle", "show", bundle).out
    assert "Does the text violate" in ok("bundle", "show", bundle, "--prompt").out


def test_bundle_whose_verdicts_differ_is_not_verified(call, bundle, monkeypatch):
    from promptopt.engines.fake import FakeEngine

    monkeypatch.setattr("promptopt.bundle.composition.opening.open_bundle_engine", lambda *_: FakeEngine(seed=1))

    called = call("bundle", "verify", bundle)
    assert called.code == 1
    assert "another judge than the one that was measured" in called.out
    assert called.out.splitlines()[-1] == "NOT verified"
    assert call("bundle", "verify", bundle, "--json").json["passed"] is False


@pytest.mark.parametrize("width", [80, 100, 120])
def test_progress_fits_the_terminal(tmp_path, width):
    with (tmp_path / "terminal").open("w+", encoding="utf-8") as stream:
        screen = Console(file=stream, width=width, force_terminal=True, color_system=None)
        config = load_config(["judge=fake", "experiment=quickstart"])
        with RichDisplay(screen) as display:
            display.started(config, [24, 65], [], Spent())
            display.judged(Spent(1_234_567, 56_789_012, 0, 12.3))
            deadline = time.monotonic() + 10
            while "tokens" not in Path(stream.name).read_text(encoding="utf-8") and time.monotonic() < deadline:
                time.sleep(0.02)
                stream.flush()
            display.phase("final round: calibration and sealed test")
        stream.seek(0)
        shown = stream.read()

    assert "100,371 judgements/s 56.8M tokens" in shown
    final_round = f"final round: calibration and sealed test 0/{config.search.budget.trials}"
    assert final_round in re.sub(r"━+|╸|╺", "", re.sub(r" +", " ", shown))
    assert "…" not in shown


def test_width_without_a_terminal_is_enough_for_tables(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width == 120
    monkeypatch.setenv("COLUMNS", "90")
    assert console().width == 90


@pytest.mark.parametrize(
    ("interval", "sign", "shown"),
    [
        (Interval(point=0.8124, low=0.7, high=0.9, level=0.95), "", "0.812 [0.700, 0.900]"),
        (Interval(point=0.01, low=-0.02, high=0.04, level=0.95), "+", "+0.010 [-0.020, +0.040]"),
        (Interval(point=0.5, low=float("nan"), high=float("nan"), level=0.95), "", "0.500"),
        (Interval(point=float("nan"), low=float("nan"), high=float("nan"), level=0.95), "", "-"),
        (None, "", "-"),
    ],
)
def test_intervals(interval, sign, shown):
    assert with_interval(interval, sign) == shown


def test_counts():
    assert [count(n, "case") for n in (0, 1, 2000)] == ["0 cases", "1 case", "2,000 cases"]


class TestProgram:
    """How the commands in messages call this installation."""

    @pytest.fixture
    def installed(self, tmp_path, monkeypatch):
        """``.venv/bin`` with two programs under the working directory, not on the shell's path."""
        folder = tmp_path / ".venv" / "bin"
        folder.mkdir(parents=True)
        for name in ("promptopt", "mlflow"):
            (folder / name).write_text("#!/bin/sh\n")
            (folder / name).chmod(0o755)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("PATH", "/usr/bin:/bin")
        return folder

    def test_it_is_called_as_the_user_called_it(self, installed, monkeypatch):
        monkeypatch.setattr(sys, "argv", [".venv/bin/promptopt", "sweep"])

        assert program() == ".venv/bin/promptopt"
        assert program("mlflow") == ".venv/bin/mlflow"

    def test_a_path_below_the_working_directory_is_short(self, installed, monkeypatch):
        monkeypatch.setattr(sys, "argv", [str(installed / "promptopt")])

        assert program() == ".venv/bin/promptopt"

    def test_a_name_is_enough_where_the_shell_finds_it(self, installed, monkeypatch):
        monkeypatch.setattr(sys, "argv", [str(installed / "promptopt")])
        monkeypatch.setenv("PATH", f"{installed}:/usr/bin")

        assert program() == "promptopt"

    def test_blanks_are_quoted(self, installed, tmp_path, monkeypatch):
        moved = installed.rename(tmp_path / "my programs")
        monkeypatch.setattr(sys, "argv", [str(moved / "promptopt")])

        assert shlex.split(program()) == ["my programs/promptopt"]

    def test_errors_name_it_too(self, installed, monkeypatch, capsys):
        from promptopt import cli

        monkeypatch.setattr(sys, "argv", [".venv/bin/promptopt", "config", "show", "nonsense=1"])
        with pytest.raises(SystemExit):
            cli.main()

        assert "run `.venv/bin/promptopt config show` to see every key" in capsys.readouterr().err
