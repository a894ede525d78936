"""Compares program shapes on the sealed test of every domain: ranking, tokens and whether the right clause is named.

Usage: python scripts/compare_shapes.py --out FILE.json [--domain abuse ...] [--shape direct verbalized ...]
       [--judge smollm2-135m] [--cases 400]

The prompts are the seed prompt of the search space in each shape; nothing is searched, and weights of the verbalized
shape are fitted on the search split. Each opening of a test split is recorded in runs/test_openings.jsonl. No texts are
written.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from promptopt.config import AppConfig, load_config, resolve_path
from promptopt.core.case import GoldenCase, Split
from promptopt.core.digest import digest_data
from promptopt.engines.base import JudgeEngine
from promptopt.errors import UserError
from promptopt.golden.reader import read_golden_set
from promptopt.golden.sampling import sample_cases
from promptopt.judges.factory import open_engine
from promptopt.metrics.arrays import BoolArray, FloatArray
from promptopt.metrics.intervals import bootstrap_interval, paired_bootstrap_difference, wilson_interval
from promptopt.metrics.ranking import average_precision
from promptopt.policy.asking import answers_of_case
from promptopt.policy.reader import read_policy
from promptopt.programs.program import JudgementProgram
from promptopt.scores.store import ScoreStore
from promptopt.search.candidates import CandidateMaker
from promptopt.search.evaluation import Evaluation, Evaluator
from promptopt.search.judging import StoredJudge
from promptopt.search.openings import OpeningRecord
from promptopt.search.weighing import is_unfitted, weigh

POLICIES = Path(__file__).resolve().parents[1] / "data" / "policies"
DOMAINS = sorted(path.stem for path in POLICIES.glob("*.yaml"))
SHAPES = {
    "direct": {"shape": "direct"},
    "verbalized": {"shape": "verbalized"},
    "checklist": {"shape": "checklist", "aggregate": "routing"},
    "checklist, strongest clause": {"shape": "checklist", "aggregate": "strongest"},
    "checklist, noisy or": {"shape": "checklist", "aggregate": "noisy_or"},
    "graded": {"shape": "graded"},
}


def main(arguments: list[str] | None = None) -> int:
    """Judges and writes; a user's mistake is one sentence and exit code 2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", nargs="+", default=DOMAINS)
    parser.add_argument("--shape", nargs="+", choices=SHAPES, default=list(SHAPES), help="direct is the reference")
    parser.add_argument("--judge", default="smollm2-135m", help="a judge of configs/judge")
    parser.add_argument("--cases", type=int, default=400, help="most test cases of a domain")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(arguments)
    try:
        found = {name: _domain(name, options) for name in options.domain}
    except UserError as error:
        print(f"compare_shapes: {error}", file=sys.stderr)
        return 2
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"judge": options.judge, "domains": found}, indent=2) + "\n", encoding="utf-8")
    return 0


def _domain(domain: str, options: argparse.Namespace) -> dict[str, Any]:
    judge, grid = options.judge.replace("-", "_"), "program.shapes=[direct,verbalized,checklist,graded]"
    config = load_config([f"domain={domain}", f"judge={judge}", "tracking=none", grid])
    engine = open_engine(config.judge)
    store = ScoreStore(config.scores_url or f"sqlite:///{Path(config.runs_dir) / 'scores.db'}")
    try:
        return _compare(config, engine, store, ["direct", *(s for s in options.shape if s != "direct")], options.cases)
    finally:
        store.close()
        engine.close()


def _compare(
    config: AppConfig, engine: JudgeEngine, store: ScoreStore, shapes: Sequence[str], limit: int
) -> dict[str, Any]:
    policy = read_policy(resolve_path(config.domain.policy))
    golden = read_golden_set(resolve_path(config.golden.path))
    golden.check_against(policy)
    evaluator = Evaluator(StoredJudge(engine, store, "compare_shapes"), engine, config.search.objective)
    maker = CandidateMaker(policy, config.space, ())
    openings = OpeningRecord(Path(config.runs_dir) / "test_openings.jsonl")
    cases: Sequence[GoldenCase] = ()
    rows: list[dict[str, Any]] = []
    direct: FloatArray | None = None
    for name in shapes:
        program = maker.program(maker.candidate({**config.space.seed_point(), **SHAPES[name]}))
        if is_unfitted(program.procedure):
            seen = evaluator.evaluate(program.lower(), program.procedure, golden.split(Split.SEARCH))
            program.procedure = weigh(program.procedure, seen.answers.probabilities, seen.cases)
        digest = digest_data([prompt.digest for prompt in program.lower()])
        openings.open(
            why="comparison of program shapes", sweep="compare_shapes", candidate=digest, golden=golden.digest
        )
        cases = cases or sample_cases(golden.split(Split.TEST), limit)
        found = evaluator.evaluate(program.lower(), program.procedure, cases)
        direct = found.scores if direct is None else direct
        rows.append({"shape": name, **_row(program, found, direct)})
        print(f"{config.domain.name}, {name}: AUPRC {rows[-1]['auprc']['point']:.3f}", file=sys.stderr, flush=True)
    violations = int(sum(case.is_violation for case in cases))
    return {"cases": len(cases), "violations": violations, "clauses": len(policy.clauses), "rows": rows}


def _row(program: JudgementProgram, found: Evaluation, direct: FloatArray) -> dict[str, Any]:
    groups = [case.group for case in found.cases]
    ranked = bootstrap_interval(found.labels, found.scores, average_precision, groups=groups)
    gap = paired_bootstrap_difference(found.labels, direct, found.scores, average_precision, groups=groups)
    return {
        "questions": len(program.lower()),
        "auprc": ranked.model_dump(mode="json"),
        "minus_direct": gap.model_dump(mode="json"),
        "tokens_per_case": found.measured.tokens_per_case,
        "unjudged": found.measured.summary.unjudged,
        "clause_accuracy": _clause_accuracy(program, found, found.labels),
    }


def _clause_accuracy(program: JudgementProgram, found: Evaluation, labels: BoolArray) -> dict[str, Any] | None:
    """Of the violations, the share whose gold clause is the one that the program would cite for a violation."""
    if program.procedure.shape != "checklist":
        return None
    judged = np.flatnonzero(labels & ~np.isnan(found.scores)).tolist()
    cited = [
        program.procedure.verdict(
            answers_of_case(found.answers.probabilities, row), float(found.scores[row]), 0.0
        ).clause
        for row in judged
    ]
    right = sum(clause == found.cases[row].clause for clause, row in zip(cited, judged, strict=True))
    return wilson_interval(right, len(judged)).model_dump(mode="json")


if __name__ == "__main__":
    sys.exit(main())
