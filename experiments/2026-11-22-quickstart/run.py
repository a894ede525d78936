"""Times the quickstart's sweep, install and model fetch apart, and writes result.json.

Usage: python experiments/2026-11-22-quickstart/run.py
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
_PLACES = ("bundle", "plots", "tracking")


def main() -> None:
    with tempfile.TemporaryDirectory() as runs:
        command = [
            sys.executable,
            "-m",
            "promptopt",
            "sweep",
            "--json",
            "experiment=quickstart",
            f"runs_dir={runs}",
        ]
        began = time.monotonic()
        done = subprocess.run(command, cwd=HERE.parents[1], stdout=subprocess.PIPE, check=True, text=True)
        seconds = time.monotonic() - began
    summary = {key: value for key, value in json.loads(done.stdout).items() if key not in _PLACES}
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    result = {**summary, "wall_seconds": round(seconds, 1), "peak_memory_gib": round(peak, 2)}
    (HERE / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{seconds:.0f} s, {peak:.2f} GiB")


if __name__ == "__main__":
    main()
