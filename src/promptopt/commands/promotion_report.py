"""What the promotion gate found as a list of tables, and those as Markdown or HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from promptopt.commands.output import count, with_interval
from promptopt.pipeline.promotion_gate import PromotionOutcome
from promptopt.pipeline.promotion_reasons import metric_label, verdict_label
from promptopt.pipeline.promotion_result import BundleFacts, Promotion
from promptopt.pipeline.promotion_slices import SliceComparison

_STYLE = (
    "body{font-family:system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse}th,td{padding:.3rem .8rem;border-bottom:1px solid #ccc;text-align:right}"
    "th:first-child,td:first-child{text-align:left}"
)


_OUTCOMES = {
    PromotionOutcome.BETTER: "the winner is better",
    PromotionOutcome.NO_DIFFERENCE: "no significant difference",
    PromotionOutcome.WORSE: "the winner is worse",
}


@dataclass(frozen=True, slots=True)
class Section:
    """A table with a title.

    Attributes:
        title: The title.
        columns: Headings.
        rows: As many cells each.
        note: What to know about it; may be empty.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def sentence(promotion: Promotion) -> str:
    """The outcome in one sentence."""
    verb = "Promoted" if promotion.promoted else "Not promoted"
    return f"{verb}: {_OUTCOMES[promotion.outcome]}; {promotion.reasons[0]}."


def further_reasons(promotion: Promotion) -> Iterator[str]:
    """What else decided, one sentence each."""
    for reason in promotion.reasons[1:]:
        yield f"{reason[0].upper()}{reason[1:]}."


def sections(promotion: Promotion) -> Iterator[Section]:
    """The tables, in order."""
    level = f"{1 - promotion.settings.alpha:.0%}"
    yield _metrics(promotion, level)
    yield _verdicts(promotion)
    if promotion.slices:
        yield _slices(promotion, level)
    yield _estimates(promotion, level)


def remarks(promotion: Promotion) -> Iterator[str]:
    """What to know besides the tables: unjudged cases, openings of the test, notes."""
    unjudged = [
        f"the {role} leaves {count(facts.unjudged, 'case')} without a verdict, "
        f"{count(facts.unjudged_violations, 'violation')} among them"
        for role, facts in (("incumbent", promotion.incumbent), ("winner", promotion.winner))
        if facts.unjudged
    ]
    if unjudged:
        yield (
            f"No verdict: {' and '.join(unjudged)}. Rankings are compared on the {promotion.paired} cases that both "
            "have judged; at the thresholds a case without a verdict is not judged right."
        )
    before = {0: "never", 1: "once"}.get(promotion.earlier_openings, f"{promotion.earlier_openings} times")
    opening = promotion.openings[0]
    yield (
        f"This test had {'been opened ' if promotion.earlier_openings else ''}{before} "
        f"{'before' if promotion.earlier_openings else 'been opened before'}; this opening by {opening.who} "
        f"({opening.why}) is on record in {promotion.record}."
    )
    for note in promotion.notes:
        yield f"{note[0].upper()}{note[1:]}."


def as_markdown(promotion: Promotion) -> str:
    """The report as Markdown."""
    parts = [f"# {_title(promotion)}", f"**{sentence(promotion)}**"]
    if further := [f"- {reason}" for reason in further_reasons(promotion)]:
        parts.append("\n".join(further))
    parts += _facts(promotion)
    for section in sections(promotion):
        lines = [section.columns, ("---", *["---:"] * (len(section.columns) - 1)), *section.rows]
        table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        parts += [f"## {section.title}", table, *([section.note] if section.note else [])]
    return "\n\n".join([*parts, *remarks(promotion)]) + "\n"


def as_html(promotion: Promotion) -> str:
    """The report as one HTML file that needs no other."""
    parts = [f"<h1>{escape(_title(promotion))}</h1>", f"<p><strong>{escape(sentence(promotion))}</strong></p>"]
    if further := [f"<li>{escape(reason)}</li>" for reason in further_reasons(promotion)]:
        parts.append(f"<ul>\n{chr(10).join(further)}\n</ul>")
    parts += [f"<p>{escape(fact)}</p>" for fact in _facts(promotion)]
    for section in sections(promotion):
        head = "".join(f"<th>{escape(column)}</th>" for column in section.columns)
        body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>\n" for row in section.rows)
        parts.append(f"<h2>{escape(section.title)}</h2>\n<table>\n<tr>{head}</tr>\n{body}</table>")
        if section.note:
            parts.append(f"<p>{escape(section.note)}</p>")
    parts += [f"<p>{escape(remark)}</p>" for remark in remarks(promotion)]
    title = escape(_title(promotion))
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _title(promotion: Promotion) -> str:
    return f"Promotion gate: {promotion.winner.name} over {promotion.incumbent.name}"


def _facts(promotion: Promotion) -> Iterator[str]:
    yield (
        f"Sealed test of {promotion.golden} ({promotion.golden_digest[:12]}): {promotion.cases} cases in "
        f"{promotion.groups} groups, {count(promotion.violations, 'violation')}; alpha {promotion.settings.alpha:g}."
    )
    yield f"Winner: {_bundle(promotion.winner)}. Incumbent: {_bundle(promotion.incumbent)}."


def _bundle(facts: BundleFacts) -> str:
    return f"{facts.name} ({facts.digest[:12]}), judge {facts.judge}, threshold {facts.threshold:.4f}"


def _metrics(promotion: Promotion, level: str) -> Section:
    rows = tuple(
        (
            metric_label(metric.name, promotion.settings.precision_floor),
            _number(metric.incumbent),
            _number(metric.winner),
            with_interval(metric.difference, "+"),
            _p(metric.p),
            _p(metric.adjusted_p),
        )
        for metric in promotion.metrics
    )
    columns = ("", "incumbent", "winner", "difference", "p", "Holm p")
    note = (
        f"{level} bootstrap intervals of the difference; p-values by swapping the two judges, whole groups at a time, "
        "adjusted together by Holm's procedure."
    )
    return Section("Gated metrics", columns, rows, note)


def _verdicts(promotion: Promotion) -> Section:
    rows = tuple(
        (
            verdict_label(verdict.name),
            f"{verdict.test.right_a} of {verdict.test.cases}",
            f"{verdict.test.right_b} of {verdict.test.cases}",
            str(verdict.test.gained),
            str(verdict.test.lost),
            _p(verdict.test.p),
            _p(verdict.test.mid_p),
            _p(verdict.adjusted_p),
        )
        for verdict in promotion.verdicts
    )
    columns = ("", "incumbent", "winner", "gained", "lost", "p", "mid-p", "Holm p")
    note = "McNemar's exact test, case by case; where cases of a group hang together its p-values are too small."
    return Section("Verdicts that are right", columns, rows, note)


def _slices(promotion: Promotion, level: str) -> Section:
    rows = tuple(
        (
            part.slice,
            str(part.violations),
            _number(part.incumbent.point),
            with_interval(part.winner),
            f"+{part.gained} -{part.lost}",
            _p(part.p_loss),
            _state(part),
        )
        for part in promotion.slices
    )
    columns = ("", "cases", "incumbent", "winner", "change", "p", "")
    note = (
        f"Recall of violations at each judge's threshold; {level} Clopper-Pearson intervals. Change: violations gained "
        "and lost; p is McNemar's for a loss, one-sided and not adjusted. In a slice of few violations only a large "
        "loss can be significant."
    )
    return Section("Critical slices", columns, rows, note)


def _state(part: SliceComparison) -> str:
    if part.regressed:
        return "regressed"
    return "" if part.floor is None else f"{'below' if part.below_floor else 'holds'} {part.floor:g}"


def _estimates(promotion: Promotion, level: str) -> Section:
    estimates = promotion.estimates
    search = "-" if math.isnan(estimates.search) else f"{estimates.search:+.3f}"
    rows = (
        ("search split, where the winner was chosen", search),
        ("sealed test", with_interval(estimates.test, "+")),
        ("sealed test, given that it is significant", with_interval(estimates.given_significance, "+")),
    )
    note = (
        f"{level} intervals. The first is biased by the choice; the second is not, but those that pass a gate are too "
        "large on average, which the third corrects (conditional likelihood of Zhong and Prentice, 2008)."
    )
    return Section("Difference in AUPRC and the winner's curse", ("", "difference"), rows, note)


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _p(value: float) -> str:
    if math.isnan(value):
        return "-"
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"
