"""A small policy as plain data, to be bent in tests, and the shipped ones."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml

from promptopt.policy.model import Policy
from promptopt.policy.reader import read_policy

POLICIES = Path(__file__).resolve().parents[2] / "data" / "policies"


def _clause(name, severity, **other):
    return {
        "id": name,
        "title": f"Title of {name}",
        "severity": severity,
        "definition": f"Definition of {name}.",
        "question": f"Does {name} apply?",
        "includes": [f"inside {name}"],
        "excludes": [f"outside {name}"],
        "action": "remove" if severity else "allow",
        **other,
    }


@pytest.fixture(scope="session")
def clause():
    """Plain data of a clause, from its id and severity."""
    return _clause


@pytest.fixture
def data():
    """V1 is lifted by V4, V2 by nothing and at once to people, V3 by V4 or V5."""
    return {
        "schema_version": 1,
        "domain": "demo",
        "title": "Demo",
        "version": "1.0.0",
        "language": "en",
        "purpose": "Shows how.",
        "question": "Does the text violate the demo policy?",
        "summary": "The whole policy in short.",
        "terms": [{"term": "word", "definition": "What is defined."}],
        "clauses": [
            _clause("V1", 3, exceptions=["V4"]),
            _clause("V2", 4, zero_tolerance=True, action="escalate"),
            _clause("V3", 1, exceptions=["V4", "V5"]),
            _clause("V4", 0),
            _clause("V5", 0),
        ],
        "precedence": ["V2", "V1", "V3"],
        "routing": [
            {"id": "R1", "when": {"any": ["V2"]}, "then": "escalate"},
            {"id": "R2", "when": {"any": ["V1"], "none": ["V4"]}, "then": "violation"},
            {"id": "R3", "when": {"all": ["V3"], "none": ["V4", "V5"]}, "then": "violation"},
            {"id": "R4", "when": {}, "then": "allowed"},
        ],
        "boundary_examples": [
            {"text": "on the wrong side", "label": "violation", "clause": "V1", "why": "because"},
            {"text": "on the right side", "label": "allowed", "clause": None, "why": "therefore"},
        ],
    }


@pytest.fixture
def policy(data):
    return Policy.model_validate(data)


@pytest.fixture
def write_policy(tmp_path, data):
    """Writes the policy after a change to its data and gives the path."""

    def write(change=None):
        bent = copy.deepcopy(data)
        if change is not None:
            change(bent)
        path = tmp_path / "policy.yaml"
        path.write_text(yaml.safe_dump(bent, sort_keys=False), encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def shipped():
    """The policies that come with the project."""
    return sorted(POLICIES.glob("*.yaml"))


@pytest.fixture(scope="session")
def shipped_policies(shipped):
    return [read_policy(path) for path in shipped]
