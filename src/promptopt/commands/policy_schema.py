"""``promptopt policy schema``."""

from __future__ import annotations

import sys
from pathlib import Path

from promptopt.commands.output import console, print_json
from promptopt.commands.policy_cases import write_whole
from promptopt.policy.schema import SCHEMA_ID, policy_schema_text


def schema(target: Path | None, as_json: bool) -> None:
    """Prints the JSON schema of the policy language, or writes it to a file."""
    if target is None:
        sys.stdout.write(policy_schema_text())
        return
    write_whole(target, policy_schema_text())
    if as_json:
        print_json({"schema": SCHEMA_ID, "file": str(target)})
        return
    out = console()
    out.print(f"written to {target}", markup=False, soft_wrap=True)
    out.print("begin a policy with this line, and its editor explains and checks it:")
    out.print(f"# yaml-language-server: $schema={target.resolve().as_uri()}", markup=False, soft_wrap=True)
