"""Fills a score matrix: distinct candidates of a search space, judged one after the other through the score store."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from promptopt.bench.facts import versions
from promptopt.bench.score_matrix import ScoreMatrix
from promptopt.config import AppConfig, resolve_path
from promptopt.core.candidate import Candidate
from promptopt.core.case import GoldenCase, Split
from promptopt.engines.base import JudgeEngine
from promptopt.errors import UserError
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.reader import read_golden_set
from promptopt.golden.sampling import sample_cases
from promptopt.judges.factory import open_engine
from promptopt.metrics.arrays import FloatArray
from promptopt.pipeline.precedents import read_precedents
from promptopt.policy.model import Policy
from promptopt.policy.reader import read_policy
from promptopt.scores.store import ScoreStore
from promptopt.search.blocks import demo_pool
from promptopt.search.candidates import CandidateMaker
from promptopt.search.judging import StoredJudge
from promptopt.search.space import SearchSpace

STUDY = "score-matrix"
_DRAWS_PER_CANDIDATE = 500
_PACKAGES = ("promptopt", "numpy", "torch", "transformers")


@dataclass(frozen=True, slots=True)
class MatrixSize:
    """How much to judge.

    Attributes:
        candidates: Distinct candidates, the seed prompt first.
        cases: Cases of the search split, none of which any candidate shows as a demonstration.
    """

    candidates: int
    cases: int


def judge_matrix(config: AppConfig, size: MatrixSize, tell: Callable[[str], None]) -> ScoreMatrix:
    """Judges every candidate on every case; what the score store holds is not judged again.

    Only the search split is read; the sealed test stays sealed.

    Args:
        config: Domain, golden set, judge, space, seed, and where the scores are kept.
        size: How many candidates and cases.
        tell: Told how far it is, one line at a time.

    Returns:
        The matrix.

    Raises:
        UserError: Any input does not fit, or the space has fewer distinct candidates.
    """
    policy = read_policy(resolve_path(config.domain.policy))
    golden = read_golden_set(resolve_path(config.golden.path))
    golden.check_against(policy)
    pool, scored = demo_pool(golden.split(Split.SEARCH), config.search.demo_pool, config.seed)
    cases = sample_cases(scored, size.cases, config.seed)
    if len(cases) < size.cases:
        tell(f"only {len(cases)} search cases are left outside the demonstration pool, {size.cases} were asked for")
    maker = CandidateMaker(policy, config.space, pool, read_precedents(config, policy, golden))
    candidates = draw_candidates(maker, config.space, size.candidates, config.seed)
    store = ScoreStore(config.scores_url or f"sqlite:///{Path(config.runs_dir) / 'scores.db'}")
    try:
        tell("loading the judge")
        engine = open_engine(config.judge, tell)
        try:
            rows = _judge(maker, candidates, cases, StoredJudge(engine, store, STUDY), tell)
            return _matrix(rows, candidates, cases, _meta(config, golden, policy, engine))
        finally:
            engine.close()
    finally:
        store.close()


def draw_candidates(maker: CandidateMaker, space: SearchSpace, count: int, seed: int) -> list[Candidate]:
    """The seed prompt and random points of the space, as many distinct candidates as asked for.

    Raises:
        UserError: The space does not seem to hold so many.
    """
    draw = random.Random(f"score matrix|{seed}")  # noqa: S311 (a reproducible draw, not a secret)
    first = maker.candidate(space.seed_point())
    found = {first.digest: first}
    for _ in range(_DRAWS_PER_CANDIDATE * count):
        if len(found) >= count:
            break
        point = {name: draw.choice(choices) for name, choices in space.dimensions.items()}
        candidate = maker.candidate(point)
        found.setdefault(candidate.digest, candidate)
    if len(found) < count:
        raise UserError(
            f"the search space gave only {len(found)} distinct candidates, {count} were asked for",
            remedy="ask for fewer, or widen the space",
        )
    return list(found.values())[:count]


def _judge(
    maker: CandidateMaker,
    candidates: Sequence[Candidate],
    cases: Sequence[GoldenCase],
    judge: StoredJudge,
    tell: Callable[[str], None],
) -> list[FloatArray]:
    rows: list[FloatArray] = []
    began, already, paid = time.monotonic(), 0, judge.spent.judgements
    for number, candidate in enumerate(candidates, 1):
        program = maker.program(candidate)
        answers = judge.answers(program.lower(), cases)
        rows.append(program.procedure.score(answers.probabilities))
        fresh = judge.spent.judgements - paid
        if not fresh:
            already = number
        elapsed, here = time.monotonic() - began, number - already
        left = elapsed / here * (len(candidates) - number) if here else 0.0
        speed = f"{fresh / elapsed:,.1f} judgements/s, {_span(left)} left" if fresh else "from the score store"
        unjudged = int(np.isnan(rows[-1]).sum())
        missing = f", {unjudged} cases unjudged" if unjudged else ""
        tell(f"candidate {number} of {len(candidates)} ({candidate.short_digest}{missing}): {speed}")
    return rows


def _matrix(
    rows: Sequence[FloatArray], candidates: Sequence[Candidate], cases: Sequence[GoldenCase], meta: dict[str, Any]
) -> ScoreMatrix:
    probabilities = np.array(rows, dtype=np.float64)
    tiny = np.finfo(np.float32).tiny
    return ScoreMatrix(
        logprobs=np.log(np.clip(probabilities, tiny, 1.0)).astype(np.float32),
        labels=np.array([case.is_violation for case in cases], dtype=np.bool_),
        clauses=np.array([case.clause or "" for case in cases], dtype=np.str_),
        severities=np.array([case.severity for case in cases], dtype=np.int8),
        groups=np.array([case.group for case in cases], dtype=np.str_),
        case_digests=np.array([case.digest for case in cases], dtype=np.str_),
        candidate_digests=np.array([candidate.digest for candidate in candidates], dtype=np.str_),
        meta={**meta, "candidates": [{**c.choices, "demos": len(c.demos)} for c in candidates]},
    )


def _meta(config: AppConfig, golden: GoldenSet, policy: Policy, engine: JudgeEngine) -> dict[str, Any]:
    card = engine.describe()
    return {
        "judge": {"name": config.judge.name, "fingerprint": card.fingerprint, **card.to_dict()},
        "max_item_tokens": config.judge.max_item_tokens,
        "golden": {"name": golden.name, "domain": golden.domain, "digest": golden.digest, "split": Split.SEARCH.value},
        "policy": policy.digest,
        "space": config.space.digest,
        "seed": config.seed,
        "versions": versions(_PACKAGES),
    }


def _span(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{max(1, minutes)} min"
