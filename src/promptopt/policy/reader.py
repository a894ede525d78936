"""Reads a policy file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from promptopt.core.yaml_file import Place, YamlFile, explain_validation, read_yaml_file
from promptopt.errors import PolicyError
from promptopt.policy.contradictions import contradictions
from promptopt.policy.model import Policy, PolicyFaultError

MAX_POLICY_BYTES = 512 * 1024
_REMEDY = "correct the policy file; `promptopt policy lint` lists every fault"


def read_policy(path: Path) -> Policy:
    """Reads and checks a policy.

    Args:
        path: A YAML file in the policy language, of at most 512 KiB.

    Returns:
        The policy.

    Raises:
        PolicyError: The file is missing, malformed, cites a clause that it does not define, or contradicts itself; says
            which clause or rule, and on which line.
    """
    file = read_policy_file(path)
    try:
        policy = Policy.model_validate(file.data)
    except ValidationError as cause:
        what = explain_validation(cause) + _clause(cause, file)
        where = f"{path}:{file.line(fault_place(cause.errors()[0]))}"
        raise PolicyError(what, where=where, remedy=_REMEDY) from cause
    if found := contradictions(policy):
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise PolicyError(found[0].message + more, where=f"{path}:{file.line(found[0].place)}", remedy=_REMEDY)
    return policy


def read_policy_file(path: Path) -> YamlFile:
    """The YAML of a policy file, whatever it says.

    Raises:
        PolicyError: The file is missing, too large for a policy, not UTF-8 or not YAML.
    """
    return read_yaml_file(path, PolicyError, MAX_POLICY_BYTES)


def fault_place(fault: Any) -> Place:
    """Where in a policy one of pydantic's errors lies, by keys and positions; empty for the policy as a whole."""
    cause = fault.get("ctx", {}).get("error")
    return (*fault["loc"], *cause.place) if isinstance(cause, PolicyFaultError) else tuple(fault["loc"])


def _clause(cause: ValidationError, file: YamlFile) -> str:
    """The id of the clause or rule that the first fault lies in, which pydantic knows by its place only."""
    match cause.errors()[0]["loc"]:
        case ("clauses" | "routing" as section, int(place), *_):
            entry = file.data[section][place]
            found = entry.get("id") if isinstance(entry, dict) else None
            return f", in {found}" if isinstance(found, str) else ""
    return ""
