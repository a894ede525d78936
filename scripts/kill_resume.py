"""Kills a sweep with SIGKILL at random moments, resumes it each time, and compares it with an undisturbed one.

Usage: python scripts/kill_resume.py --kills 10 judge=smollm2_135m experiment=quickstart search.budget.trials=8
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from promptopt.scores.store import ScoreStore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the outcome here")
    parser.add_argument("overrides", nargs="*", help="overrides of `promptopt sweep`")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        outcome = compare_runs(Path(folder), arguments.kills, arguments.seed, arguments.overrides)
    print(json.dumps(outcome, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(outcome, indent=2) + "\n", encoding="utf-8")
    sys.exit(0 if outcome["same"] else 1)


def compare_runs(folder: Path, kills: int, seed: int, overrides: list[str]) -> dict[str, Any]:
    """Runs an undisturbed sweep and a killed one.

    Args:
        folder: Scratch folder.
        kills: How often the second sweep is killed.
        seed: Seed of the moments.
        overrides: Overrides of ``promptopt sweep``.

    Returns:
        Whether winner, trials and stored scores are the same, when each kill came and what it interrupted.
    """
    run(folder / "calm", overrides)
    calls = count(folder / "calm", "engine_calls")
    draw = random.Random(seed)  # noqa: S311 (reproducible moments, not a secret)
    stages = []
    while len(stages) < kills:
        before = count(folder / "killed", "engine_calls")
        # A kill comes some engine calls into a process, at any point of what follows the last of them.
        more = draw.randint(1, max(1, round(calls / kills)))
        killed = run(folder / "killed", overrides, kill_after=(before + more, draw.uniform(0.0, 0.5)))
        if not killed:
            break
        stages.append({"calls_before": before, "calls_after": count(folder / "killed", "engine_calls")})
    run(folder / "killed", overrides)
    calm, killed_run = result(folder / "calm"), result(folder / "killed")
    return {
        "kills": len(stages),
        "stages": stages,
        "engine_calls": calls,
        "scores": len(calm["scores"]),
        "same_winner": calm["winner"] == killed_run["winner"],
        "same_trials": calm["trials"] == killed_run["trials"],
        "same_scores": calm["scores"] == killed_run["scores"],
        "judged_twice": killed_run["judgements"] - len(killed_run["scores"]),
        "same": calm["winner"] == killed_run["winner"]
        and calm["trials"] == killed_run["trials"]
        and calm["scores"] == killed_run["scores"],
    }


def run(folder: Path, overrides: list[str], kill_after: tuple[int, float] | None = None) -> bool:
    """Runs the sweep in its own process.

    Args:
        folder: Its folder of runs.
        overrides: Overrides of ``promptopt sweep``.
        kill_after: Number of engine calls on record, and seconds after that, when the process is killed.

    Returns:
        True when it was killed before it ended.
    """
    command = [sys.executable, "-m", "promptopt", "sweep", "--json", f"runs_dir={folder}", "name=sweep", *overrides]
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "stderr.txt").open("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        while kill_after and process.poll() is None and count(folder, "engine_calls") < kill_after[0]:
            time.sleep(0.01)
        if kill_after and process.poll() is None:
            time.sleep(kill_after[1])
        if kill_after and process.poll() is None:
            process.kill()
            process.wait()
            return True
        if process.wait() != 0:
            errors.seek(0)
            raise SystemExit(f"the sweep failed with exit code {process.returncode}: {errors.read()[-2000:]}")
    return False


def count(folder: Path, table: str) -> int:
    """Rows of a table of the run's score store; 0 while there is none."""
    database = folder / "scores.db"
    if not database.is_file():
        return 0
    try:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as connection:
            return int(connection.execute(f"select count(*) from {table}").fetchone()[0])  # noqa: S608 (our own names)
    except sqlite3.OperationalError:
        return 0


def result(folder: Path) -> dict[str, Any]:
    """What a finished sweep left behind: winner, trials without their numbers, and every stored score to the bit."""
    summary = json.loads((folder / "sweep" / "summary.json").read_text(encoding="utf-8"))
    lines = (folder / "sweep" / "trials.jsonl").read_text(encoding="utf-8").splitlines()
    trials = [{k: v for k, v in json.loads(line).items() if k not in ("trial", "repeats")} for line in lines]
    store = ScoreStore(f"sqlite:///{folder / 'scores.db'}")
    scores = list(store.dump())
    store.close()
    return {
        "winner": summary["winner"]["candidate"],
        "trials": trials,
        "scores": scores,
        "judgements": summary["judgements"],
    }


if __name__ == "__main__":
    main()
