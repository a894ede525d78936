"""docs/policy.md: its YAML is read as authors would have it read, and no key of the language is left out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from promptopt.config import DomainConfig
from promptopt.core.yaml_file import read_yaml
from promptopt.errors import PolicyError
from promptopt.policy.contradictions import contradictions
from promptopt.policy.decision_tree import compile_tree
from promptopt.policy.functional.generate import functional_cases
from promptopt.policy.model import Action, Outcome, Policy
from promptopt.policy.reader import read_policy
from promptopt.policy.schema import policy_schema
from promptopt.policy.trace import trace

PAGE = Path(__file__).resolve().parents[2] / "docs" / "policy.md"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
WHOLE, *PIECES = BLOCKS
DOMAIN = PIECES.pop()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("page") / "scams.yaml"
    file.write_text(WHOLE, encoding="utf-8")
    return file


@pytest.fixture(scope="module")
def policy(path):
    return read_policy(path)


def test_the_whole_policy_is_one(policy):
    assert policy.domain == "scams"
    assert compile_tree(policy).steps
    assert {case.function for case in functional_cases(policy)} >= {"clause:SC3/plain", "minimal_edit:SC3"}


def test_it_uses_every_key_that_it_explains(path):
    written = yaml.safe_load(WHOLE)
    assert set(written) == set(Policy.model_fields)
    assert {rule["then"] for rule in written["routing"]} == {outcome.value for outcome in Outcome}


@pytest.mark.parametrize("piece", PIECES, ids=lambda piece: piece.partition(":")[0])
def test_a_piece_takes_its_place_in_the_policy(path, piece):
    changed = Policy.model_validate({**read_yaml(path, PolicyError), **yaml.safe_load(piece)})
    assert contradictions(changed) == []


def test_every_key_and_choice_of_the_language_is_on_the_page():
    page = PAGE.read_text(encoding="utf-8")
    schema = policy_schema()
    objects = [schema, *(d for d in schema["$defs"].values() if d["type"] == "object")]
    names = {name for described in objects for name in described["properties"]}
    missing = [n for n in sorted(names | {*Outcome, *Action}) if not re.search(rf"`{n}\b|^ *{n}:", page, re.M)]
    assert missing == []


def test_what_the_page_says_of_the_combination_that_is_left_open(policy):
    answers = dict.fromkeys(policy.by_id, False) | {"SC3": True, "SC5": True}
    assert (trace(policy, answers).rule, trace(policy, answers).outcome) == ("R3", Outcome.ABSTAIN)
    (without,) = (piece for piece in PIECES if piece.startswith("routing:"))
    changed = Policy.model_validate({**yaml.safe_load(WHOLE), **yaml.safe_load(without)})
    assert trace(changed, answers).rule == "R4"


def test_the_domain_is_configured_by_two_lines():
    assert DomainConfig.model_validate(yaml.safe_load(DOMAIN)).name == "scams"


def test_links_lead_somewhere():
    page = PAGE.read_text(encoding="utf-8")
    anchors = {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"^#+ (.+)$", page, re.M)}
    for target in re.findall(r"\]\(([^)]+)\)", page):
        assert target.removeprefix("#") in anchors if target.startswith("#") else (PAGE.parent / target).is_file()
