"""``promptopt policy cases``."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from rich.markup import escape

from promptopt.commands.output import console, count, print_json, table
from promptopt.errors import PolicyError, UserError
from promptopt.golden.functional import format_functional_cases
from promptopt.policy.functional.generate import functional_cases
from promptopt.policy.functional.model import FunctionalCase
from promptopt.policy.model import Policy
from promptopt.policy.reader import read_policy


def cases(policy_path: Path, target: Path, limit: int | None, seed: int, as_json: bool) -> None:
    """Writes the functional cases of a policy and prints how many test each function; no texts."""
    policy = read_policy(policy_path)
    made = made_cases(policy, policy_path, limit, seed)
    write_whole(target, format_functional_cases(made))
    functions = Counter(case.function for case in made)
    violations = Counter(case.function for case in made if case.is_violation)
    without = [c.id for c in policy.violating if not any(case.function == f"clause:{c.id}/plain" for case in made)]
    if as_json:
        print_json(
            {
                "policy": policy.digest,
                "cases": len(made),
                "violations": violations.total(),
                "functions": dict(sorted(functions.items())),
                "clauses_without_case": without,
                "out": str(target),
            }
        )
        return
    out = console()
    shown = table("function", "cases", "violations")
    for function, number in sorted(functions.items()):
        shown.add_row(escape(function), str(number), str(violations[function]))
    out.print(shown)
    out.print(f"\n{count(len(made), 'case')}, {count(violations.total(), 'violation')}")
    if without:
        out.print(f"no case for {', '.join(without)}: add boundary examples or templates", soft_wrap=True)
    out.print(f"written to {target}", soft_wrap=True, markup=False)


def made_cases(policy: Policy, where: Path, limit: int | None, seed: int) -> tuple[FunctionalCase, ...]:
    """The functional cases of a policy.

    Raises:
        PolicyError: The policy has nothing to make them from.
    """
    made = functional_cases(policy, seed=seed, limit=limit)
    if not made:
        raise PolicyError(
            "the policy has no boundary examples and no templates to make cases from",
            where=where,
            remedy="add some under `boundary_examples` or `templates`",
        )
    return made


def write_whole(path: Path, text: str) -> None:
    """Writes a file as a whole or not at all.

    Raises:
        UserError: It cannot be written.
    """
    staged = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_text(text, encoding="utf-8")
        os.replace(staged, path)
    except OSError as cause:
        raise UserError(
            f"the file cannot be written ({cause.strerror})", where=path, remedy="name another file"
        ) from cause
