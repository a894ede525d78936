"""``scripts/steerability.py`` with the fake judge."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_counts_by_clause_add_up_and_no_text_is_written(tmp_path):
    spec = importlib.util.spec_from_file_location("steerability_script", ROOT / "scripts" / "steerability.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    out = tmp_path / "steerability.json"
    assert script.main(["--domain", "abuse", "--judge", "fake", "--cases", "4", "--out", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))["domains"]["abuse"]
    assert set(found["clauses"]) == {f"A{number}" for number in range(1, 9)}
    for key in ("cases", "judged", "moved"):
        assert found["overall"][key] == sum(clause[key] for clause in found["clauses"].values())
    assert 0 < found["controls"]["cases"] <= found["overall"]["cases"]
    assert all(c["cases"] <= 4 for c in found["clauses"].values())
    assert "parasites" not in out.read_text(encoding="utf-8")
