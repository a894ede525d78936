"""The README that a bundle carries: generated from its content, so that it cannot drift from it."""

from __future__ import annotations

from math import isnan
from textwrap import fill

from promptopt.bundle.model import PromptBundle, metric_names
from promptopt.metrics.intervals import Interval

_WIDTH = 120
_USE = """## Judge with it

    promptopt judge --bundle . --in posts.jsonl --out verdicts.jsonl

or from Python, with any engine that loads the judge below:

    from promptopt.bundle.model import PromptBundle
    from promptopt.bundle.runtime import BundleJudge

    judge = BundleJudge(PromptBundle.load("."), engine)
    verdicts = judge.judge(["a text", "another"])

A verdict is a label with a probability, or the reason why there is none; no verdict is never *allowed*.

## Verify it

    promptopt bundle verify .

judges the pinned cases again and compares probabilities and verdicts with those recorded at export. Run it once on
every new machine, engine version or number format. `sha256sum --check bundle.sha256` checks the manifest, which holds
the digest of every other file.
{drift}"""


def render_readme(bundle: PromptBundle) -> str:
    """The Markdown text; holds scores and digests, and no text of a case."""
    parts = [
        f"# {_inline(bundle.name)}\n",
        f"A judge for the policy *{_inline(bundle.policy.title)}* {_inline(bundle.policy.version)} "
        f"(domain `{bundle.domain}`), exported {bundle.created:%Y-%m-%d %H:%M} UTC by promptopt "
        f"{_inline(bundle.promptopt)}. It asks {_count(len(bundle.prompts), 'question')} of "
        f"`{_inline(str(bundle.engine['model']))}` and turns "
        "the measured answers into a verdict by the policy's routing.\n",
        "`parity.jsonl` holds the texts of the pinned cases, which may be offensive or disturbing.\n",
        _USE.replace("{drift}", _drift(bundle)),
        "## Scores\n",
        _scores(bundle),
        _threshold(bundle),
        f"The sealed test split was opened {_count(len(bundle.openings), 'time')} before export.\n",
        "## Made of\n",
        _origins(bundle),
    ]
    return "\n".join(parts)


def _scores(bundle: PromptBundle) -> str:
    metrics = list(metric_names(bundle.scores))
    head = ["split", "cases", "violations", "unjudged", *metrics]
    lines = [_row(head), _row(["---"] * len(head))]
    for split, scores in bundle.scores.items():
        counts = [str(scores.cases), str(scores.positives), str(scores.unjudged)]
        values = [_value(scores.metrics[name]) if name in scores.metrics else "" for name in metrics]
        lines.append(_row([split.value, *counts, *values]))
    return "\n".join(lines) + "\n\nIn brackets: confidence intervals.\n"


def _drift(bundle: PromptBundle) -> str:
    drift = bundle.drift
    if drift is None:
        return ""
    said = (
        f"This judge is not exact: judged in other company, a pinned case's probabilities moved by {drift.largest:.2g} "
        f"at most when the bundle was made ({drift.changed} of {_count(drift.cases, 'verdict')} changed), so that "
        f"{bundle.tolerance:.2g} is allowed."
    )
    return f"\n{fill(said, _WIDTH)}\n"


def _threshold(bundle: PromptBundle) -> str:
    point = bundle.operating_point
    doubt = "" if point.feasible else f" The criterion could not be met: {_inline(point.note) or 'a stand-in'}."
    return (
        f"A text is a violation from probability {point.threshold:.4f} on. The threshold was chosen for "
        f"{point.criterion.replace('_', ' ')} (there: precision {_number(point.precision)}, "
        f"recall {_number(point.recall)}).{doubt}{_certified(bundle)}{_band(bundle)}\n"
    )


def _certified(bundle: PromptBundle) -> str:
    found = bundle.certificate
    if found is None or not found.feasible:
        return ""
    return (
        f" On new cases from the same source its {found.kind} is at least {found.floor:g} with confidence "
        f"{1 - found.delta:g} ({found.misses} misses in {found.cases} independent calibration cases)."
    )


def _band(bundle: PromptBundle) -> str:
    band = bundle.band
    if band is None:
        return ""
    low = "0" if band.low is None else f"{band.low:.4g}"
    high = "1" if band.high is None else f"{band.high:.4g}"
    return (
        f" Scores between {low} and {high}, before calibration, are escalated to people: "
        f"{_value(band.escalated)} of the calibration cases."
    )


def _origins(bundle: PromptBundle) -> str:
    facts = {
        "policy": bundle.policy.digest,
        f"golden set {_inline(bundle.golden.name)}": bundle.golden.digest,
        "candidate": bundle.candidate,
        "judge fingerprint": bundle.fingerprint,
    }
    return "\n".join(f"- {name}: `{digest}`" for name, digest in facts.items()) + "\n"


def _row(cells: list[str]) -> str:
    return "| " + " | ".join(_inline(cell) for cell in cells) + " |"


def _value(interval: Interval) -> str:
    if isnan(interval.low) or isnan(interval.high):
        return _number(interval.point)
    return f"{_number(interval.point)} [{_number(interval.low)}, {_number(interval.high)}]"


def _number(value: float) -> str:
    return "undefined" if isnan(value) else f"{value:.3f}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _inline(text: str) -> str:
    """Text that stays on its line and in its table cell."""
    return " ".join(text.split()).replace("|", "\\|")
