"""Policies, golden sets, configurations and data/README.md agree."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from promptopt.core.digest import digest_file
from promptopt.golden.build import authored_provenance, build_golden_set
from promptopt.golden.reader import read_golden_set, read_manifest
from promptopt.golden.similarity import similar_pairs
from promptopt.policy.functional.generate import functional_cases
from promptopt.policy.reader import read_policy

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "data"
DOMAINS = sorted(path.stem for path in (DATA / "policies").glob("*.yaml"))
NEAR = 0.4


@pytest.fixture(params=DOMAINS)
def domain(request):
    """The policy and the golden set of a domain as they ship."""
    policy = read_policy(DATA / "policies" / f"{request.param}.yaml")
    return policy, read_golden_set(DATA / "golden" / request.param)


def test_every_domain_has_policy_golden_set_and_configuration():
    assert {"abuse", "political", "self_harm", "sexual", "violence"} <= set(DOMAINS)
    assert sorted(path.name for path in (DATA / "golden").iterdir() if path.is_dir()) == DOMAINS
    assert sorted(path.stem for path in (ROOT / "configs" / "domain").glob("*.yaml")) == DOMAINS


def test_golden_set_follows_its_policy(domain):
    policy, golden = domain
    assert golden.domain == policy.domain
    golden.check_against(policy)
    assert all(case.severity == policy.by_id[case.clause].severity for case in golden.cases if case.is_violation)
    assert all(case.id.startswith(f"{policy.domain}-") and case.split is not None for case in golden.cases)


def test_shipped_files_are_as_built(domain):
    policy, golden = domain
    folder = DATA / "golden" / policy.domain
    report = build_golden_set(folder, policy, authored_provenance(policy), check=True)
    assert not report.changed
    manifest = read_manifest(folder)
    assert manifest.digest == digest_file(folder / "cases.jsonl")
    assert manifest.cases == len(golden.cases)
    assert manifest.licence == "Apache-2.0"
    assert manifest.content_warning


def test_policy_examples_give_no_case_away(domain):
    policy, golden = domain
    filled = [c.text for c in functional_cases(policy) if c.function.startswith(("clause:", "permitted:", "minimal_"))]
    examples = [*(example.text for example in policy.boundary_examples), *filled]
    texts = examples + [case.text for case in golden.cases]
    given = similar_pairs(texts, NEAR, lambda first, second: first < len(examples) <= second)
    assert [golden.cases[case - len(examples)].id for _, case, _ in given] == []


def test_texts_hold_no_addresses_that_could_be_real(domain):
    _, golden = domain
    real = re.compile(r"https?://(?!\S*(example|\.test\b|\.invalid\b))|[\w.]+@(?!example\b)[\w-]+\.\w+", re.IGNORECASE)
    assert [case.id for case in golden.cases if real.search(case.text)] == []


def test_readme_shows_the_present_counts():
    spec = importlib.util.spec_from_file_location("golden_table", ROOT / "scripts" / "golden_table.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    table = script.golden_table(DATA)
    assert table.count("\n") == len(DOMAINS) + 1
    readme = (DATA / "README.md").read_text(encoding="utf-8")
    assert table in readme, "run `python scripts/golden_table.py` and put its table into data/README.md"
