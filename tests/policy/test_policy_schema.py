"""The policy language as JSON schema: it says what the models say, and takes what they take."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from promptopt.policy.model import Policy
from promptopt.policy.schema import SCHEMA_ID, policy_schema, policy_schema_text

COMMITTED = Path(__file__).resolve().parents[2] / "docs" / "policy.schema.json"


@pytest.fixture(scope="module")
def validator():
    Draft202012Validator.check_schema(policy_schema())
    return Draft202012Validator(policy_schema())


def _as_json(path):
    return json.loads(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")), default=str))


def test_the_committed_schema_is_that_of_the_language():
    assert COMMITTED.read_text(encoding="utf-8") == policy_schema_text(), (
        "run `promptopt policy schema --output docs/policy.schema.json`"
    )


def test_it_names_its_dialect_and_itself():
    schema = policy_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == SCHEMA_ID


def test_every_object_and_property_is_described_in_plain_words():
    schema = policy_schema()
    objects = [schema, *(d for d in schema["$defs"].values() if d["type"] == "object")]
    assert len(objects) >= 8
    for described in objects:
        assert described["description"]
        assert "Attributes:" not in described["description"]
        assert described["additionalProperties"] is False
        for name, value in described["properties"].items():
            assert value.get("description"), name
            assert "``" not in value["description"]
            assert "\n" not in value["description"]


def test_it_takes_every_shipped_policy(validator, shipped):
    for path in shipped:
        assert list(validator.iter_errors(_as_json(path))) == []


def _bend(data, *keys, value):
    bent = copy.deepcopy(data)
    place = bent
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    return bent


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("clauses", 0, "severity"), 5),
        (("clauses", 0, "id"), "v1"),
        (("clauses", 0, "action"), "ban"),
        (("clauses", 0, "includes"), []),
        (("clauses", 0, "colour"), "red"),
        (("clauses", 0, "title"), ""),
        (("routing", 0, "then"), "maybe"),
        (("routing",), []),
        (("boundary_examples", 0, "label"), "unsure"),
        (("domain",), "With Space"),
        (("schema_version",), 2),
        (("locale_notes",), {"German": "note"}),
    ],
)
def test_it_refuses_what_the_models_refuse(validator, data, keys, value):
    assert list(validator.iter_errors(data)) == []
    bent = _bend(data, *keys, value=value)
    assert list(validator.iter_errors(bent))
    with pytest.raises(ValidationError):
        Policy.model_validate(bent)


def test_the_outcomes_are_all_there(validator, data):
    assert list(validator.iter_errors(_bend(data, "routing", 0, "then", value="abstain"))) == []
