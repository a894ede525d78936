"""Judges functional cases under a policy and under its inversion on each clause, and writes how far the judge follows.

Usage: python scripts/steerability.py --out FILE.json [--domain abuse ...] [--judge smollm2-135m] [--cases 20]

The prompt is the seed prompt of the search space. Affected are the cases that the inversion turns from violation to
allowed; controls are violations of other clauses, which it leaves as they are, as many of them. A judge that follows
the policy moves the affected down and leaves the controls. No texts are written.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from promptopt.config import load_config, resolve_path
from promptopt.engines.base import JudgeEngine
from promptopt.errors import UserError
from promptopt.judges.factory import open_engine
from promptopt.metrics.steerability import Steerability, steerability
from promptopt.policy.functional.generate import functional_cases
from promptopt.policy.functional.model import FunctionalCase
from promptopt.policy.inversion import invert
from promptopt.policy.model import Policy
from promptopt.policy.reader import read_policy
from promptopt.search.candidates import CandidateMaker
from promptopt.search.space import SearchSpace

POLICIES = Path(__file__).resolve().parents[1] / "data" / "policies"
DOMAINS = sorted(path.stem for path in POLICIES.glob("*.yaml"))


def main(arguments: list[str] | None = None) -> int:
    """Judges and writes; a user's mistake is one sentence and exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", nargs="+", default=DOMAINS)
    parser.add_argument("--judge", default="smollm2-135m", help="a judge of configs/judge")
    parser.add_argument("--cases", type=int, default=20, help="most cases for each clause")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        found = {domain: _domain(domain, options.judge.replace("-", "_"), options.cases) for domain in options.domain}
    except UserError as error:
        print(f"steerability: {error}", file=sys.stderr)
        return 2
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(
        json.dumps({"judge": options.judge, "most_cases": options.cases, "domains": found}, indent=2) + "\n",
        encoding="utf-8",
    )
    return 0


def _domain(domain: str, judge: str, limit: int) -> dict[str, Any]:
    config = load_config([f"domain={domain}", f"judge={judge}", "tracking=none"])
    policy = read_policy(resolve_path(config.domain.policy))
    cases = [case for case in functional_cases(policy, seed=config.seed) if case.is_violation]
    engine = open_engine(config.judge)
    found: dict[str, Any] = {}
    both: list[tuple[Any, Any]] = []
    controls: list[tuple[Any, Any]] = []
    try:
        for clause in policy.violating:
            affected = [case for case in cases if case.clause == clause.id][:limit]
            if not affected:
                continue
            others = [case for case in cases if case.clause not in (clause.id, None)]
            asked = [*affected, *others[:: max(1, len(others) // len(affected))][: len(affected)]]
            before = _scores(policy, config.space, asked, engine)
            after = _scores(invert(policy, clause.id), config.space, asked, engine)
            both.append((before[: len(affected)], after[: len(affected)]))
            controls.append((before[len(affected) :], after[len(affected) :]))
            found[clause.id] = _plain(steerability(*both[-1]))
            print(f"{domain}, {clause.id}: {found[clause.id]['moved']} of {len(affected)} moved", file=sys.stderr)
    finally:
        engine.close()
    if not both:
        raise UserError("the policy has no violating example to make cases from", where=config.domain.policy)
    return {"overall": _plain(_joined(both)), "controls": _plain(_joined(controls)), "clauses": found}


def _joined(pairs: list[tuple[Any, Any]]) -> Steerability:
    before, after = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return steerability(before, after)


def _scores(policy: Policy, space: SearchSpace, cases: list[FunctionalCase], engine: JudgeEngine) -> Any:
    maker = CandidateMaker(policy, space, ())
    program = maker.program(maker.candidate(space.seed_point()))
    verdicts = program.judge(cases, engine)
    return np.array([np.nan if v.probability is None else v.probability for v in verdicts], dtype=np.float64)


def _plain(found: Steerability) -> dict[str, Any]:
    return found.model_dump(mode="json")


if __name__ == "__main__":
    sys.exit(main())
