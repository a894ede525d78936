"""Precedents that candidates may show: cases that people decided before, apart from those that measure."""

from __future__ import annotations

from pathlib import Path

from promptopt.config import AppConfig, resolve_path
from promptopt.core.case import GoldenCase
from promptopt.errors import GoldenSetError
from promptopt.golden.golden_set import GoldenSet
from promptopt.golden.leakage import NEAR_DUPLICATE_THRESHOLD
from promptopt.golden.reader import read_cases
from promptopt.golden.similarity import similar_pairs
from promptopt.policy.model import Policy
from promptopt.search.demonstrations import boundary_cases


def read_precedents(config: AppConfig, policy: Policy, golden: GoldenSet) -> tuple[GoldenCase, ...]:
    """Reads the file that ``program.demos.precedents`` names.

    Args:
        config: The configuration.
        policy: The policy that the precedents were decided under.
        golden: The golden set that candidates are measured on.

    Returns:
        The precedents in file order; none where the configuration names no file.

    Raises:
        GoldenSetError: The file is missing or malformed, a precedent contradicts the policy, has the id of another case
            that may be shown, or says nearly the same as a golden case, whose answer a prompt would then give away.
    """
    if config.program.demos.precedents is None:
        return ()
    path = resolve_path(config.program.demos.precedents)
    precedents = read_cases(path)
    GoldenSet(name=path.name, domain=policy.domain, cases=precedents).check_labels(policy)
    _refuse_known_ids(precedents, policy, golden, path)
    _refuse_copies(precedents, golden, path)
    return precedents


def _refuse_known_ids(precedents: tuple[GoldenCase, ...], policy: Policy, golden: GoldenSet, path: Path) -> None:
    known = {case.id for case in (*golden.cases, *boundary_cases(policy))}
    if taken := next((case.id for case in precedents if case.id in known), None):
        raise GoldenSetError(
            f"precedent {taken} has the id of a case of golden set {golden.name} or of the policy's boundary examples",
            where=path,
            remedy="give it an id of its own",
        )


def _refuse_copies(precedents: tuple[GoldenCase, ...], golden: GoldenSet, path: Path) -> None:
    first = len(golden.cases)
    words = [case.words for case in (*golden.cases, *precedents)]
    pairs = similar_pairs(words, NEAR_DUPLICATE_THRESHOLD, lambda low, high: low < first <= high)
    if (found := next(pairs, None)) is None:
        return
    case, precedent, similarity = golden.cases[found[0]], precedents[found[1] - first], found[2]
    raise GoldenSetError(
        f"precedent {precedent.id} says nearly the same as case {case.id} of the golden set's {case.split} split "
        f"(similarity {similarity:.2f}, below {NEAR_DUPLICATE_THRESHOLD} is allowed)",
        where=path,
        remedy="leave one of the two out: a prompt must not show what it is measured on",
    )
