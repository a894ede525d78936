"""The sets that the project wrote keep what data/README.md promises of them."""

from __future__ import annotations

import shutil
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from promptopt.core.case import CaseKind, Split
from promptopt.golden.build import authored_provenance, build_golden_set
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.leakage import near_duplicates_across_splits
from promptopt.golden.reader import read_golden_set, read_manifest
from promptopt.policy.reader import read_policy

REPOSITORY = Path(__file__).resolve().parents[2]

DOMAINS = sorted(path.parent.name for path in (REPOSITORY / "data" / "golden").glob("*/cases.jsonl"))
SHARES = {Split.SEARCH: 0.42, Split.CALIBRATION: 0.25, Split.TEST: 0.33}


@pytest.fixture(scope="module", params=DOMAINS)
def authored(request, tmp_path_factory):
    """The policy, and the golden set as a build of its cases gives it."""
    source = REPOSITORY / "data" / "golden" / request.param / "cases.jsonl"
    folder = tmp_path_factory.mktemp("built") / request.param
    folder.mkdir()
    shutil.copy(source, folder)
    policy = read_policy(REPOSITORY / "data" / "policies" / f"{request.param}.yaml")
    build_golden_set(folder, policy, authored_provenance(policy))
    return policy, read_golden_set(folder)


def test_size_and_balance(authored):
    policy, golden = authored
    assert len(golden.cases) >= 240
    assert 0.42 <= sum(c.is_violation for c in golden.cases) / len(golden.cases) <= 0.55
    cited = Counter(c.clause for c in golden.cases)
    assert all(cited[clause.id] >= 10 for clause in policy.clauses)
    assert all(c.clause is not None for c in golden.cases if c.is_violation)
    assert Counter(c.kind for c in golden.cases)[CaseKind.HARD_NEGATIVE] >= 60
    assert sum(c.language != "en" for c in golden.cases) >= 15


def test_splits(authored):
    policy, golden = authored
    for split, share in SHARES.items():
        part = golden.split(split)
        assert abs(len(part) - share * len(golden.cases)) <= 0.02 * len(golden.cases)
        assert 0.4 <= sum(c.is_violation for c in part) / len(part) <= 0.57
        assert {c.clause for c in part} >= set(policy.by_id)
    assert near_duplicates_across_splits(golden.cases) == ()


def test_contrast_pairs_are_whole(authored):
    _, golden = authored
    pairs = defaultdict(list)
    for case in golden.cases:
        if case.pair is not None:
            pairs[case.pair].append(case)
    assert len(pairs) >= 30
    for halves in pairs.values():
        assert {case.label for case in halves} == {"violation", "allowed"}
        assert len(halves) == 2
        assert len({(case.group, case.split) for case in halves}) == 1


def test_what_is_admitted_is_what_a_build_gives(authored):
    policy, golden = authored
    folder = REPOSITORY / "data" / "golden" / policy.domain
    if not (folder / "manifest.json").is_file():
        pytest.skip("not admitted yet: run `python scripts/build_golden.py`")
    admitted = read_golden_set(folder)
    assert isinstance(admitted, GoldenSet)
    assert admitted.digest == golden.digest
    manifest = read_manifest(folder)
    assert manifest.licence == "Apache-2.0"
    assert "not sampled from traffic" in manifest.how_made
    assert manifest.content_warning
