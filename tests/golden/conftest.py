"""Toy golden sets of unlike texts, and the places of the real ones."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from promptopt.core.case import GoldenCase
from promptopt.policy.model import Policy

REPOSITORY = Path(__file__).resolve().parents[2]


def _words(seed, count=12):
    letters = random.Random(seed)
    return " ".join("".join(letters.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(count))


def _make_case(number, violation, *, group=None, clause=None, text=None, **other):
    return GoldenCase(
        id=f"c{number:03d}",
        text=text or _words(number),
        label="violation" if violation else "allowed",
        clause=clause,
        severity=(2 if violation else 0),
        group=group or f"g{number:03d}",
        **other,
    )


@pytest.fixture(scope="session")
def words():
    """A function from a seed (and a word count) to a text that shares next to nothing with that of another seed."""
    return _words


@pytest.fixture(scope="session")
def make_case():
    """A function from a number, a label and any other key to a golden case."""
    return _make_case


@pytest.fixture
def toy_cases():
    """60 cases in 20 groups: half violations of X1 or X2, the allowed half permitted by X3 or nothing."""
    return [
        _make_case(n, n % 2 == 0, group=f"g{n // 3:02d}", clause=[f"X{1 + n % 4 // 2}", "X3" if n % 3 else None][n % 2])
        for n in range(60)
    ]


@pytest.fixture
def toy_policy():
    clause = {"title": "t", "definition": "d", "question": "q?", "includes": ["a"], "excludes": ["b"]}
    return Policy.model_validate(
        {
            "schema_version": 1,
            "domain": "toy",
            "title": "Toy",
            "version": "1.0.0",
            "language": "en",
            "purpose": "p",
            "question": "q?",
            "summary": "s",
            "clauses": [
                {"id": "X1", "severity": 2, "action": "remove", **clause},
                {"id": "X2", "severity": 2, "action": "remove", **clause},
                {"id": "X3", "severity": 0, "action": "allow", **clause},
            ],
            "precedence": ["X1", "X2"],
            "routing": [
                {"id": "R1", "when": {"any": ["X1", "X2"], "none": ["X3"]}, "then": "violation"},
                {"id": "R2", "when": {}, "then": "allowed"},
            ],
        }
    )


@pytest.fixture
def write_lines(tmp_path):
    """Writes rows (objects or raw strings) as JSON lines and gives the path."""

    def write(*rows, name="cases.jsonl"):
        path = tmp_path / name
        path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows), encoding="utf-8")
        return path

    return write


@pytest.fixture
def row():
    """The keys of one valid case, with changes."""

    def make(**changes):
        base = {"id": "a", "text": "some text", "label": "violation", "clause": "X1", "severity": 2, "group": "g"}
        return {key: value for key, value in (base | changes).items() if value is not ...}

    return make


@pytest.fixture(scope="session")
def datasets():
    folder = Path(os.environ.get("PROMPTOPT_DATASETS", REPOSITORY.parent / "shared" / "datasets"))
    if not folder.is_dir():
        pytest.skip("the outside data sets are not here; set PROMPTOPT_DATASETS to their folder")
    return folder
