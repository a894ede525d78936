"""Does a composition, here and now, say what it and its bundles said when they were made?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptopt.bundle.composition.tree import Branch
from promptopt.bundle.contract import TextJudge, TracedVerdict
from promptopt.bundle.model import ParityCase
from promptopt.bundle.parity import CaseParity, VerifyReport, compare
from promptopt.bundle.runtime import BundleJudge
from promptopt.core.content import PartedText

_NOT_ASKED = float("nan")


def verify_composition(
    judge: TextJudge, branch: Branch, bundles: Mapping[str, BundleJudge], tolerance: float | None
) -> VerifyReport:
    """Judges the pinned cases of every bundle, and of the composition where it has some, and compares.

    Args:
        judge: The composition's judge.
        branch: What it is made of.
        bundles: Place to the bundle there, as it was exported; one that stands at several places is judged once.
        tolerance: Largest difference of a probability that passes; None is each bundle's own, and the widest of them
            for the composition's cases.

    Returns:
        One report over all cases; those of a bundle have its place before their id.
    """
    cases: list[CaseParity] = []
    judged: set[str] = set()
    for place, bundle in bundles.items():
        if bundle.bundle.digest in judged:
            continue
        judged.add(bundle.bundle.digest)
        report = bundle.verify(tolerance)
        cases.extend(case.model_copy(update={"id": f"{place}:{case.id}"}) for case in report.cases)
    widest = max(bundle.bundle.tolerance for bundle in bundles.values())
    cases.extend(_own(judge, branch.parity, widest if tolerance is None else tolerance))
    return VerifyReport.of(cases, expected=branch.fingerprint, found=judge.engine_fingerprint())


def pinned(ids: Sequence[str], texts: Sequence[str], traced: Sequence[TracedVerdict]) -> tuple[ParityCase, ...]:
    """Cases as a composition pins them: the answers are the scores of the bundles that were asked, by place.

    Args:
        ids: Of the cases.
        texts: Of the cases.
        traced: What the composition said of them; the unjudged are left out.
    """
    return tuple(
        ParityCase(
            id=i,
            text=str(text),
            parts=text.parts if isinstance(text, PartedText) else None,
            answers=dict(told.scores),
            score=told.score,
            label=told.verdict.label,
        )
        for i, text, told in zip(ids, texts, traced, strict=True)
        if told.verdict.label is not None
    )


def _own(judge: TextJudge, parity: Sequence[ParityCase], allowed: float) -> list[CaseParity]:
    found = judge.judge_traced([case.item for case in parity])
    return [
        compare(case, _answers(case, told), told.score, told.verdict, allowed)
        for case, told in zip(parity, found, strict=True)
    ]


def _answers(case: ParityCase, told: TracedVerdict) -> Mapping[str, float]:
    """The scores of the bundles asked; one that was asked then and is not asked now, or the reverse, never passes."""
    asked = dict.fromkeys(case.answers, _NOT_ASKED) | dict(told.scores)
    same = told.scores.keys() == case.answers.keys()
    return asked if same else dict.fromkeys(asked, _NOT_ASKED)
