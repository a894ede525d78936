"""Reads a policy file."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from promptopt.core.yaml_file import explain_validation, read_yaml
from promptopt.errors import PolicyError
from promptopt.policy.model import Policy


def read_policy(path: Path) -> Policy:
    """Reads and checks a policy.

    Args:
        path: A YAML file in the policy language.

    Returns:
        The policy.

    Raises:
        PolicyError: The file is missing, malformed, or cites a clause that it does not define; says which.
    """
    try:
        return Policy.model_validate(read_yaml(path, PolicyError))
    except ValidationError as cause:
        raise PolicyError(explain_validation(cause), where=path, remedy="correct the policy file") from cause
