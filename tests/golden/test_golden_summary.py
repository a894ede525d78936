"""The summary counts every case once and holds no text."""

from __future__ import annotations

import json

from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.splits import assign_splits
from promptopt.golden.summary import summarise_golden


def test_every_case_is_counted_once_in_every_view(toy_cases):
    golden = GoldenSet(name="toy", domain="toy", cases=assign_splits(toy_cases))
    found = summarise_golden(golden)
    assert found["cases"] == sum(cell["cases"] for cell in found["cells"]) == 60
    assert list(found["splits"]) == ["search", "calibration", "test"]
    assert sum(part["groups"] for part in found["splits"].values()) == found["groups"] == 20
    for name, part in found["splits"].items():
        assert part["cases"] == sum(c["cases"] for c in found["cells"] if c["split"] == name)
        clauses = (part["violation_clauses"] | {}, part["allowed_clauses"])
        assert sum(sum(tally.values()) for tally in clauses) == part["cases"]
        assert sum(part["kinds"].values()) == sum(part["languages"].values()) == part["cases"]
    assert "none" in found["splits"]["search"]["allowed_clauses"]


def test_no_text_and_ready_for_json(toy_cases):
    written = json.dumps(summarise_golden(GoldenSet(name="toy", domain="toy", cases=toy_cases)))
    assert not any(case.text in written for case in toy_cases)
    assert '"unsplit": {"cases": 60' in written
