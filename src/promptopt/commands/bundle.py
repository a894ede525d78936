"""``promptopt bundle``."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.markup import escape

from promptopt.bundle.files import read_bundle
from promptopt.bundle.model import PromptBundle, metric_names
from promptopt.bundle.runtime import BundleJudge
from promptopt.commands.output import console, print_json, table, with_interval
from promptopt.judges.bundles import open_bundle_engine

EXIT_DIFFERS = 1


def verify(folder: Path, tolerance: float, as_json: bool) -> None:
    """Checks a bundle's bytes and re-judges its pinned cases; exits with 1 when one differs."""
    bundle = read_bundle(folder)
    engine = open_bundle_engine(bundle.judge, folder)
    try:
        report = BundleJudge(bundle, engine).verify(tolerance)
    finally:
        engine.close()
    if as_json:
        print_json(report)
    else:
        out = console()
        largest = "-" if report.largest_difference is None else f"{report.largest_difference:.2e}"
        out.print(f"files      every digest matches ({folder})", soft_wrap=True)
        same = (
            "the judge that was measured" if report.engine_matches else "another judge than the one that was measured"
        )
        out.print(f"judge      {bundle.judge.get('name', '?')}: {same}")
        out.print(
            f"verdicts   {report.agreement:.0%} of {len(report.cases)} pinned cases agree; "
            f"largest difference of a probability {largest} (allowed {tolerance:g})"
        )
        if report.differing:
            out.print(f"differing  {', '.join(report.differing)}", soft_wrap=True)
        out.print("verified" if report.passed else "NOT verified")
    if not report.passed:
        sys.exit(EXIT_DIFFERS)


def show(folder: Path, prompt: bool, as_json: bool) -> None:
    """Prints what a bundle holds."""
    bundle = read_bundle(folder)
    if as_json:
        print_json(bundle.model_dump(mode="json", exclude=None if prompt else {"parity", "prompts", "policy_source"}))
        return
    out = console()
    point = bundle.operating_point
    facts = table("", "")
    facts.columns[1].justify = "left"
    for name, value in (
        ("name", bundle.name),
        ("made", f"{bundle.created:%Y-%m-%d %H:%M} UTC with promptopt {bundle.promptopt}"),
        ("policy", f"{bundle.policy.title} {bundle.policy.version} ({bundle.policy.digest[:12]})"),
        ("golden set", f"{bundle.golden.name} ({bundle.golden.digest[:12]})"),
        ("judge", f"{bundle.judge.get('name')} {bundle.engine['dtype']} ({bundle.fingerprint[:12]})"),
        ("program", f"{bundle.procedure.shape}, {len(bundle.prompts)} question(s)"),
        ("labels", " / ".join(bundle.prompts[0].labels)),
        ("threshold", f"{point.threshold:.4f} on calibrated scores, for {point.criterion.replace('_', ' ')}"),
        ("", "keeps the precision floor on the calibration split" if point.feasible else point.note),
        ("test openings", str(len(bundle.openings))),
    ):
        facts.add_row(name, escape(str(value)))
    out.print(facts)
    out.print(_scores(bundle))
    if prompt:
        for lowered in bundle.prompts:
            for message in lowered.messages():
                out.print(f"\n[bold]{escape(message['role'])}[/]\n{escape(message['content'])}")


def _scores(bundle: PromptBundle) -> object:
    splits = list(bundle.scores)
    shown = table("metric (95% interval)", *[split.value for split in splits], title="\nScores")
    for metric in metric_names(bundle.scores):
        shown.add_row(metric.replace("_", " "), *[with_interval(bundle.scores[s].metrics.get(metric)) for s in splits])
    cells = [f"{bundle.scores[s].cases} ({bundle.scores[s].positives} violations)" for s in splits]
    shown.add_row("cases", *cells)
    return shown
