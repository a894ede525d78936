"""Renders a policy as the text a judge reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from promptopt.core.model import FrozenModel
from promptopt.policy.model import Clause, Policy

Rendering = Literal["none", "summary", "titles", "definitions", "criteria", "full", "checklist"]
RENDERINGS: tuple[Rendering, ...] = get_args(Rendering)
ClauseSubset = Literal["all", "severe"]
ClauseOrder = Literal["file", "severity", "precedence"]
ExceptionPlace = Literal["last", "first", "none"]
SEVERE = 3


class RenderOptions(FrozenModel):
    """How renderings that list clauses list them.

    Attributes:
        subset: ``all`` violating clauses, or the ``severe`` ones (from 3; all where none is).
        order: As in the ``file``, by falling ``severity``, or by ``precedence``.
        exceptions: Permitting clauses after the violating ones, before them, or not at all.
        severities: Whether each violating clause names its severity.
    """

    subset: ClauseSubset = "all"
    order: ClauseOrder = "file"
    exceptions: ExceptionPlace = "last"
    severities: bool = False


_PLAIN = RenderOptions()


def lists_clauses(rendering: Rendering) -> bool:
    """Whether a rendering has clauses that options could change."""
    return rendering not in ("none", "summary")


def render_policy(policy: Policy, rendering: Rendering, options: RenderOptions = _PLAIN) -> str:
    """The policy as plain text, from nothing to everything.

    Args:
        policy: The policy.
        rendering: ``none``; ``summary`` (the condensed policy); ``titles`` (clause titles under *violates* and
            *allowed*); ``definitions`` (one sentence per clause); ``criteria`` (definitions with includes and
            excludes); ``full`` (summary, terms, criteria, boundary examples and locale notes); ``checklist`` (each
            clause's question).
        options: Which clauses, in which order.

    Returns:
        Text without a trailing newline; empty for ``none``.
    """
    if rendering == "none":
        return ""
    if rendering == "summary":
        return f"Policy: {policy.title}\n{policy.summary}"
    if rendering == "titles":
        return _sections(policy, lambda clause: clause.title, options)
    if rendering == "checklist":
        return _sections(policy, lambda clause: f"{clause.id} {clause.question}", options)
    if rendering == "definitions":
        return _sections(policy, lambda clause: f"{clause.id} {clause.title}: {clause.definition}", options)
    criteria = _sections(policy, _with_criteria, options)
    if rendering == "criteria":
        return criteria
    terms = "\n".join(f"- {t.term}: {t.definition}" for t in policy.terms)
    examples = "\n".join(
        f'- "{e.text}" -> {e.label.value}{f" ({e.clause})" if e.clause else ""}: {e.why}'
        for e in policy.boundary_examples
    )
    notes = "\n".join(f"- {locale}: {note}" for locale, note in policy.locale_notes.items())
    parts = [
        policy.summary,
        terms and f"Terms:\n{terms}",
        criteria,
        examples and f"Examples:\n{examples}",
        notes and f"By language or country:\n{notes}",
    ]
    return "\n\n".join(part for part in parts if part)


def _sections(policy: Policy, say: Callable[[Clause], str], options: RenderOptions) -> str:
    def line(clause: Clause) -> str:
        graded = options.severities and clause.is_violating
        return f"- {say(clause)} (severity {clause.severity})" if graded else f"- {say(clause)}"

    violating = "\n".join(map(line, _violating(policy, options)))
    permitting = "\n".join(map(line, policy.permitting)) if options.exceptions != "none" else ""
    parts = [f"Violates:\n{violating}", f"Allowed:\n{permitting}" if permitting else ""]
    if options.exceptions == "first":
        parts.reverse()
    return "\n".join(part for part in (f"Policy: {policy.title}", *parts) if part)


def _violating(policy: Policy, options: RenderOptions) -> Sequence[Clause]:
    clauses = list(policy.violating)
    if options.subset == "severe":
        clauses = [clause for clause in clauses if clause.severity >= SEVERE] or clauses
    if options.order == "severity":
        clauses.sort(key=lambda clause: -clause.severity)
    elif options.order == "precedence":
        clauses.sort(key=lambda clause: policy.precedence.index(clause.id))
    return clauses


def _with_criteria(clause: Clause) -> str:
    includes, excludes = "; ".join(clause.includes), "; ".join(clause.excludes)
    return f"{clause.id} {clause.title}: {clause.definition} Includes: {includes}. Excludes: {excludes}."
