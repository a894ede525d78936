"""The policy language as a JSON schema, from which editors complete, explain and check a policy file as it is written.

The schema knows keys, kinds of values, choices and patterns. Whether a cited clause exists, whether the routing
contradicts a clause and the like, reading and `promptopt policy lint` say.
"""

from __future__ import annotations

import inspect
import json
import re
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from promptopt.policy.model import Policy

SCHEMA_ID = "urn:promptopt:policy:1"
_ATTRIBUTE = re.compile(r"^(\w+): (.+)$")
_CODE = re.compile(r"``([^`]+)``")
_ROLE = re.compile(r":\w+:`([^`]+)`")


def policy_schema() -> dict[str, Any]:
    """The schema of a policy file.

    Returns:
        JSON schema, draft 2020-12. Descriptions are those of the models' docstrings.
    """
    schema = Policy.model_json_schema(schema_generator=_Generator)
    head = {"$schema": GenerateJsonSchema.schema_dialect, "$id": SCHEMA_ID, "title": "promptopt policy"}
    return head | schema


def policy_schema_text() -> str:
    """The schema as indented JSON that ends with a line break."""
    return json.dumps(policy_schema(), indent=2, ensure_ascii=False) + "\n"


class _Generator(GenerateJsonSchema):
    """Describes objects by the head of their docstring, and properties by its list of attributes; no made-up titles."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: Any) -> dict[str, Any]:
        made = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        made.pop("title", None)
        head, attributes = _described(model)
        made["description"] = head
        for name, described in made.get("properties", {}).items():
            if name in attributes:
                described["description"] = attributes[name]
        return made

    def enum_schema(self, schema: Any) -> dict[str, Any]:
        made = super().enum_schema(schema)
        if "description" in made:
            made["description"] = _plain(made["description"])
        return made

    def dict_schema(self, schema: Any) -> dict[str, Any]:
        made = super().dict_schema(schema)
        if "patternProperties" in made:
            made["additionalProperties"] = False  # a key that fits no pattern is refused, not let through
        return made


def _described(model: type[BaseModel]) -> tuple[str, dict[str, str]]:
    """What a docstring says of the model, and of each attribute."""
    text = inspect.getdoc(model) or ""
    head, _, listed = text.partition("\nAttributes:\n")
    attributes: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc(listed).splitlines():
        if found := _ATTRIBUTE.match(line):
            name = found[1]
            attributes[name] = found[2]
        elif name and line.strip():
            attributes[name] += f" {line.strip()}"
    return _plain(head), {key: _plain(said) for key, said in attributes.items()}


def _plain(text: str) -> str:
    """Flowing text without the marks of reStructuredText, which editors would show as they are."""
    paragraphs = (" ".join(part.split()) for part in text.split("\n\n"))
    said = "\n\n".join(part for part in paragraphs if part)
    return _CODE.sub(r"`\1`", _ROLE.sub(r"`\1`", said))
