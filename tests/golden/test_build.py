"""Building an authored set: checked, split, idempotent; and the script that does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from promptopt.errors import GoldenSetError
from promptopt.golden.build import authored_provenance, build_golden_set
from promptopt.golden.reader import read_golden_set, read_manifest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path, toy_cases):
    path = tmp_path / "golden" / "toy"
    path.mkdir(parents=True)
    rows = [case.model_dump(mode="json", exclude={"split"}) for case in toy_cases]
    (path / "cases.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def snapshot(folder):
    return {p.name: (p.read_bytes(), p.stat().st_mtime_ns) for p in folder.iterdir()}


def build(folder, policy, **options):
    return build_golden_set(folder, policy, authored_provenance(policy), **options)


def rewrite(folder, position, **changes):
    path = folder / "cases.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[position] |= changes
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_second_build_changes_nothing(folder, toy_policy):
    assert build(folder, toy_policy).changed
    before = snapshot(folder)
    assert not build(folder, toy_policy).changed
    assert not build(folder, toy_policy, check=True).changed
    assert snapshot(folder) == before
    read_golden_set(folder).check_against(toy_policy)
    assert read_manifest(folder).licence == "Apache-2.0"


def test_the_day_of_admission_stays_while_the_cases_do(words, folder, toy_policy):
    build(folder, toy_policy)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace(read_manifest(folder).created.isoformat(), "2020-02-02"))
    assert not build(folder, toy_policy).changed
    rewrite(folder, 0, text=words(777))
    assert build(folder, toy_policy).changed
    assert read_manifest(folder).created.year > 2020


def test_check_writes_nothing_and_refuses_what_is_not_built(folder, toy_policy):
    before = snapshot(folder)
    with pytest.raises(GoldenSetError, match="not as built"):
        build(folder, toy_policy, check=True)
    assert snapshot(folder) == before


def test_near_duplicate_groups_are_merged_and_the_merge_is_stable(words, folder, toy_policy):
    rewrite(folder, 59, text=words(0) + " indeed")
    assert build(folder, toy_policy).merged_groups == 1
    cases = read_golden_set(folder).by_id
    assert cases["c059"].group == cases["c000"].group == "g00"
    assert not build(folder, toy_policy).changed


def test_a_case_against_the_policy_is_refused_and_nothing_is_written(folder, toy_policy):
    rewrite(folder, 0, severity=3)
    before = snapshot(folder)
    with pytest.raises(GoldenSetError, match="case c000 has severity 3"):
        build(folder, toy_policy)
    assert snapshot(folder) == before


def run_script(*arguments):
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    command = [sys.executable, str(REPOSITORY / "scripts" / "build_golden.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_script_builds_checks_and_fails_in_one_sentence(tmp_path, folder, toy_policy):
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "toy.yaml").write_text(toy_policy.model_dump_json())
    checked = run_script("--data", tmp_path, "--check")
    assert checked.returncode == 2
    assert "not as built" in checked.stderr
    built = run_script("--data", tmp_path)
    assert (built.returncode, built.stderr) == (0, "")
    assert "toy: 60 cases" in built.stdout
    assert run_script("--data", tmp_path, "--check").returncode == 0
    unknown = run_script("--data", tmp_path, "nonesuch")
    assert unknown.returncode == 2
    assert "does not exist" in unknown.stderr
    assert "Traceback" not in unknown.stderr
