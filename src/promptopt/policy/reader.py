"""Reads a policy file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from promptopt.core.yaml_file import explain_validation, read_yaml
from promptopt.errors import PolicyError
from promptopt.policy.lint import contradictions
from promptopt.policy.model import Policy

_REMEDY = "correct the policy file"


def read_policy(path: Path) -> Policy:
    """Reads and checks a policy.

    Args:
        path: A YAML file in the policy language.

    Returns:
        The policy.

    Raises:
        PolicyError: The file is missing, malformed, cites a clause that it does not define, or contradicts itself; says
            which clause or rule.
    """
    data = read_yaml(path, PolicyError)
    try:
        policy = Policy.model_validate(data)
    except ValidationError as cause:
        raise PolicyError(explain_validation(cause) + _clause(cause, data), where=path, remedy=_REMEDY) from cause
    if found := contradictions(policy):
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise PolicyError(found[0] + more, where=path, remedy=_REMEDY)
    return policy


def _clause(cause: ValidationError, data: dict[str, Any]) -> str:
    """The id of the clause or rule that the first fault lies in, which pydantic knows by its place only."""
    match cause.errors()[0]["loc"]:
        case ("clauses" | "routing" as section, int(place), *_):
            entry = data[section][place]
            found = entry.get("id") if isinstance(entry, dict) else None
            return f", in {found}" if isinstance(found, str) else ""
    return ""
