"""Builds the golden sets that the project wrote: checks them against their policies, assigns splits, writes manifests.

Running it twice changes nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from promptopt.errors import UserError
from promptopt.golden.build import BuildReport, authored_provenance, build_golden_set
from promptopt.policy.reader import read_policy

DATA = Path(__file__).resolve().parents[1] / "data"


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when every domain is built (or as built), 2 when one cannot be."""
    options = _parse(arguments)
    found = sorted(folder.name for folder in (options.data / "golden").glob("*") if folder.is_dir())
    domains = options.domains or found
    if not domains:
        print(f"{options.data / 'golden'}: no golden set here; give --data.", file=sys.stderr)
        return 2
    failed = False
    for domain in domains:
        try:
            print(_describe(_build(domain, options)))
        except UserError as error:
            print(error, file=sys.stderr)
            failed = True
    return 2 if failed else 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("domains", nargs="*", help="domains to build (default: all)")
    parser.add_argument("--data", type=Path, default=DATA, help="folder that holds golden/ and policies/")
    parser.add_argument("--seed", type=int, default=0, help="seed of the splits (default: 0)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a build would change a file")
    return parser.parse_args(arguments)


def _build(domain: str, options: argparse.Namespace) -> BuildReport:
    policy = read_policy(options.data / "policies" / f"{domain}.yaml")
    folder = options.data / "golden" / domain
    return build_golden_set(folder, policy, authored_provenance(policy), seed=options.seed, check=options.check)


def _describe(report: BuildReport) -> str:
    splits = ", ".join(f"{split} {cases}" for split, cases in report.splits.items())
    labels = ", ".join(f"{label} {cases}" for label, cases in report.labels.items())
    state = "written" if report.changed else "as built"
    return f"{report.domain}: {report.cases} cases ({splits}; {labels}), {report.merged_groups} groups merged, {state}"


if __name__ == "__main__":
    sys.exit(main())
