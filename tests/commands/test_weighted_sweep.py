"""A sweep whose checklists weigh their clauses: what is fitted is shipped, and the bundle says what was measured."""

from __future__ import annotations

import json

from promptopt.bundle.files import read_bundle


def test_the_winner_ships_its_weights_and_verifies(ok, tmp_path):
    program = ("program.shapes=[checklist]", "program.aggregates=[weighted]", "program.seed.shape=checklist")
    search = ("search.budget.trials=2", "search.finalists=1", "tracking=none")
    run = ("sweep", "judge=fake", "experiment=quickstart", "domain=violence", *program, *search)
    ok(*run, f"runs_dir={tmp_path}", "name=weighted")

    bundle = read_bundle(tmp_path / "weighted" / "bundle")
    weights = bundle.procedure.weights
    assert bundle.procedure.aggregate == "weighted"
    assert set(weights.weights) == {clause.id for clause in bundle.procedure.clauses}
    assert min(weights.weights.values()) >= 0
    written = json.loads((tmp_path / "weighted" / "bundle" / "procedure.json").read_text(encoding="utf-8"))
    assert written["weights"]["intercept"] == weights.intercept
    assert ok("bundle", "verify", tmp_path / "weighted" / "bundle", "--json").json["largest_difference"] < 1e-9
