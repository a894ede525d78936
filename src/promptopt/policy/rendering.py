"""Renders a policy as the text a judge reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from promptopt.policy.model import Clause, Policy

Rendering = Literal["none", "summary", "titles", "definitions", "criteria", "full"]
RENDERINGS: tuple[Rendering, ...] = get_args(Rendering)


def render_policy(policy: Policy, rendering: Rendering) -> str:
    """The policy as plain text, from nothing to everything.

    Args:
        policy: The policy.
        rendering: ``none``; ``summary`` (the condensed policy); ``titles`` (clause titles under *violates* and
            *allowed*); ``definitions`` (one sentence per clause); ``criteria`` (definitions with includes and
            excludes); ``full`` (summary, terms, criteria and boundary examples).

    Returns:
        Text without a trailing newline; empty for ``none``.
    """
    if rendering == "none":
        return ""
    if rendering == "summary":
        return f"Policy: {policy.title}\n{policy.summary}"
    if rendering == "titles":
        return _sections(policy, lambda clause: f"- {clause.title}")
    if rendering == "definitions":
        return _sections(policy, lambda clause: f"- {clause.id} {clause.title}: {clause.definition}")
    criteria = _sections(policy, _with_criteria)
    if rendering == "criteria":
        return criteria
    terms = "\n".join(f"- {t.term}: {t.definition}" for t in policy.terms)
    examples = "\n".join(
        f'- "{e.text}" -> {e.label.value}{f" ({e.clause})" if e.clause else ""}: {e.why}'
        for e in policy.boundary_examples
    )
    parts = [policy.summary, terms and f"Terms:\n{terms}", criteria, examples and f"Examples:\n{examples}"]
    return "\n\n".join(part for part in parts if part)


def _sections(policy: Policy, line: Callable[[Clause], str]) -> str:
    violating = "\n".join(line(clause) for clause in policy.violating)
    permitting = "\n".join(line(clause) for clause in policy.permitting)
    text = f"Policy: {policy.title}\nViolates:\n{violating}"
    return f"{text}\nAllowed:\n{permitting}" if permitting else text


def _with_criteria(clause: Clause) -> str:
    includes, excludes = "; ".join(clause.includes), "; ".join(clause.excludes)
    return f"- {clause.id} {clause.title}: {clause.definition} Includes: {includes}. Excludes: {excludes}."
