"""The corpus benchmark: one kill in the middle, and an output that is whole."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("extension", ["jsonl", "parquet"])
def test_a_killed_corpus_goes_on_and_is_whole(extension, tmp_path):
    command = [sys.executable, ROOT / "scripts" / "bench_corpus.py", "--rows", "20000", "--part-rows", "500"]
    command += ["--format", extension, "--kill-at", "0.3", "--folder", tmp_path, "--json", tmp_path / "outcome.json"]

    subprocess.run(command, check=True, capture_output=True)

    outcome = json.loads((tmp_path / "outcome.json").read_text(encoding="utf-8"))
    first, second = outcome["runs"]
    assert (first["killed"], second["killed"]) == (True, False)
    assert 6000 <= first["rows_judged_after"] == second["rows_judged_before"] < second["rows_judged_after"] == 20000
    assert outcome["output"] == {"verified": True, "rows": 20000, "in_order": 20000, "judged": 20000}
    assert [path.name for path in tmp_path.iterdir()] == ["outcome.json"]
