"""Prints the table of the golden sets that the project wrote, for data/README.md."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from promptopt.core.case import CaseKind, Split
from promptopt.errors import UserError
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.reader import read_golden_set
from promptopt.policy.reader import read_policy

DATA = Path(__file__).resolve().parents[1] / "data"
COLUMNS = (
    "domain",
    "clauses (permitting)",
    "cases",
    "violations",
    "search",
    "calibration",
    "test",
    "groups",
    "contrast pairs",
    "hard negatives",
    "harmless",
    "es / fr / de",
)


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when the table is printed, 2 when a set cannot be read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder that holds golden/ and policies/")
    try:
        print(golden_table(parser.parse_args(arguments).data))
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def golden_table(data: Path) -> str:
    """A Markdown table, one row per domain.

    Args:
        data: Folder that holds ``golden/`` and ``policies/``.

    Raises:
        UserError: A set or its policy cannot be read.
    """
    folders = sorted(path for path in (data / "golden").iterdir() if path.is_dir())
    rows = [_row(read_golden_set(folder), data / "policies" / f"{folder.name}.yaml") for folder in folders]
    lines = [COLUMNS, ("---",) + ("---:",) * (len(COLUMNS) - 1), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(golden: GoldenSet, policy_path: Path) -> tuple[str, ...]:
    policy = read_policy(policy_path)
    kinds = Counter(case.kind for case in golden.cases)
    languages = Counter(case.language for case in golden.cases)
    return (
        f"`{golden.domain}`",
        f"{len(policy.clauses)} ({len(policy.permitting)})",
        str(len(golden.cases)),
        str(sum(case.is_violation for case in golden.cases)),
        *(str(len(golden.split(split))) for split in Split),
        str(len({case.group for case in golden.cases})),
        str(len({case.pair for case in golden.cases if case.pair is not None})),
        str(kinds[CaseKind.HARD_NEGATIVE]),
        str(kinds[CaseKind.HARMLESS]),
        " / ".join(str(languages[code]) for code in ("es", "fr", "de")),
    )


if __name__ == "__main__":
    sys.exit(main())
