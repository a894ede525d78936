"""``promptopt bundle``."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from promptopt.bundle.composition.opening import open_judge
from promptopt.bundle.composition.reader import read_judge
from promptopt.bundle.composition.tree import Branch, Node
from promptopt.bundle.drift import EXACT_TOLERANCE
from promptopt.bundle.model import PromptBundle, metric_names
from promptopt.commands.bundle_composition import show_composition
from promptopt.commands.output import console, count, print_json, table, with_interval
from promptopt.policy.grading import SEVERITY_WORDS

EXIT_DIFFERS = 1


def verify(folder: Path, tolerance: float | None, as_json: bool) -> None:
    """Checks a bundle's bytes and re-judges its pinned cases; exits with 1 when one differs."""
    node = read_judge(folder)
    with open_judge(node, any_judge=True) as judge:
        report = judge.verify(tolerance)
    if as_json:
        print_json(report)
    else:
        out = console()
        largest = "-" if report.largest_difference is None else f"{report.largest_difference:.2g}"
        out.print(f"files      every digest matches ({escape(str(folder))})", soft_wrap=True)
        out.print(f"judge      {escape(_judges(node, report.engine_matches))}", soft_wrap=True)
        out.print(f"verdicts   {report.agreement:.0%} of {count(len(report.cases), 'pinned case')} agree")
        out.print(f"scores     differ by {largest} at most, {report.tolerance:.2g} is allowed{_why(node, tolerance)}")
        if report.differing:
            out.print(f"differing  {escape(', '.join(report.differing))}", soft_wrap=True)
        out.print("verified" if report.passed else "NOT verified")
    if not report.passed:
        sys.exit(EXIT_DIFFERS)


def show(folder: Path, prompt: bool, as_json: bool) -> None:
    """Prints what a bundle holds."""
    node = read_judge(folder)
    if isinstance(node, Branch):
        show_composition(node, as_json)
        return
    bundle = node.bundle
    if as_json:
        print_json(bundle.model_dump(mode="json", exclude=None if prompt else {"parity", "prompts", "policy_source"}))
        return
    out = console()
    out.print(_facts(bundle))
    out.print("\n[bold]Scores with 95% intervals[/]")
    out.print(_scores(bundle))
    if prompt:
        for lowered in bundle.prompts:
            for message in lowered.messages():
                out.print(f"\n[bold]{escape(message['role'])}[/]\n{escape(message['content'])}")


def _why(node: Node, tolerance: float | None) -> str:
    """Where the tolerance comes from, if it is wider than that of exact judges."""
    drifts = [leaf.bundle.drift for leaf in node.leaves() if leaf.bundle.drift is not None]
    if tolerance is not None or all(drift.tolerance <= EXACT_TOLERANCE for drift in drifts):
        return ""
    widest = max(drift.largest for drift in drifts)
    return f": other company moved them by {widest:.2g} when the bundle was made"


def _judges(node: Node, same: bool) -> str:
    names = list(dict.fromkeys(str(leaf.bundle.judge.get("name", "?")) for leaf in node.leaves()))
    if len(names) > 1:
        return f"{', '.join(names)}: {'those that were measured' if same else 'others than those that were measured'}"
    return f"{names[0]}: {'the judge that was measured' if same else 'another judge than the one that was measured'}"


def _facts(bundle: PromptBundle) -> Table:
    point = bundle.operating_point
    shown = Table.grid(padding=(0, 3))
    for name, value in (
        ("name", bundle.name),
        ("made", f"{bundle.created:%Y-%m-%d %H:%M} UTC with promptopt {bundle.promptopt}"),
        ("policy", f"{bundle.policy.title} {bundle.policy.version} ({bundle.policy.digest[:12]})"),
        ("golden set", f"{bundle.golden.name} ({bundle.golden.digest[:12]})"),
        ("judge", f"{bundle.judge.get('name')} {bundle.engine['dtype']} ({bundle.fingerprint[:12]})"),
        ("program", f"{bundle.procedure.shape}, {count(len(bundle.prompts), 'question')}"),
        ("labels", " / ".join(_answers(bundle.prompts[0].labels))),
        *_words_read(bundle),
        ("threshold", f"{point.threshold:.4f} on calibrated scores"),
        ("", "keeps what was asked for on the calibration split" if point.feasible else point.note),
        *_drift(bundle),
        ("test openings", str(len(bundle.openings))),
    ):
        shown.add_row(name, escape(str(value)))
    return shown


def _drift(bundle: PromptBundle) -> list[tuple[str, str]]:
    """What company does to a judge that is not exact."""
    if bundle.drift is None:
        return []
    cases, changed = count(bundle.drift.cases, "pinned case"), bundle.drift.changed
    return [
        ("drift", f"other company moves {cases} by {bundle.drift.largest:.2g} at most and changes {changed} verdicts")
    ]


def _answers(labels: tuple[str, ...]) -> tuple[str, ...]:
    """What a judge is asked to choose from: without the panel of a verbalized question."""
    return labels if len(labels) <= len(SEVERITY_WORDS) else labels[:2]


def _words_read(bundle: PromptBundle) -> list[tuple[str, str]]:
    """What the first verbalized question of a bundle is read off."""
    prompts = iter(bundle.prompts)
    for procedure in bundle.procedure.single:
        prompt, *_ = [next(prompts) for _ in procedure.questions]
        if procedure.verbalizer is not None:
            speaking_for, against = procedure.verbalizer.telling(prompt.labels)
            return [
                ("read off", f"{len(prompt.labels)} words; weightiest for a violation: {', '.join(speaking_for)}"),
                ("", f"against it: {', '.join(against)}"),
            ]
    return []


def _scores(bundle: PromptBundle) -> Table:
    splits = list(bundle.scores)
    shown = table("", *[split.value for split in splits])
    for metric in metric_names(bundle.scores):
        shown.add_row(_words(metric), *[with_interval(bundle.scores[s].metrics.get(metric)) for s in splits])
    for label, fact in (("cases", "cases"), ("violations", "positives"), ("no verdict", "unjudged")):
        shown.add_row(label, *[str(getattr(bundle.scores[s], fact)) for s in splits])
    return shown


def _words(name: str) -> str:
    return name.replace("_", " ")
