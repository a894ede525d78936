"""Renders a policy as the standard operating procedure that annotators follow: Markdown, or one HTML file."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from promptopt.core.case import Label
from promptopt.policy.changes.between import changes_between
from promptopt.policy.decision_tree import DecisionTree, Step, compile_tree
from promptopt.policy.drawing import render_svg
from promptopt.policy.mermaid import render_mermaid
from promptopt.policy.model import SLOT, Action, BoundaryExample, CaseTemplate, Clause, Outcome, Policy
from promptopt.policy.wording import OUTCOMES, condition, consequences, headline, printable

_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~&#$])")
_LIST_MARK = re.compile(r"^([-+=])|^(\d+)([.)])(?=\s|$)")


@dataclass(frozen=True, slots=True)
class ExamplePair:
    """Examples on either side of one line; a side is None where the policy has none that belongs to the other."""

    violation: BoundaryExample | None
    allowed: BoundaryExample | None


@dataclass(frozen=True, slots=True)
class Contrast:
    """Two texts that differ in a few words: under the first the clause applies, under the second it does not."""

    clause: Clause
    applies: str
    does_not: str


@dataclass(frozen=True, slots=True)
class Level:
    """A rung of the severity ladder, with its clauses by precedence."""

    severity: int
    clauses: tuple[Clause, ...]


def render_html(policy: Policy, previous: Policy | None = None) -> str:
    """The procedure as one HTML file that needs nothing else: no script, no font, no picture from elsewhere.

    Args:
        policy: The policy.
        previous: The version that people know; what changed since then is listed.

    Returns:
        An HTML document; every text of the policy is escaped.

    Raises:
        PolicyError: The decision procedure has too many steps, or the former version is about another domain.
    """
    facts = _facts(policy, previous)
    drawing = render_svg(facts["tree"], f"Decision tree: {policy.title} {policy.version}")
    # The drawing's texts are escaped where it is made.
    return _rendered("sop.html.j2", facts | {"svg": Markup(drawing)}, autoescape=True, finalize=_visible)  # noqa: S704


def render_markdown(policy: Policy, previous: Policy | None = None) -> str:
    """The procedure as Markdown, the decision tree as a Mermaid flowchart.

    Args:
        policy: The policy.
        previous: The version that people know; what changed since then is listed.

    Returns:
        Markdown; whatever Markdown or HTML would read in a text of the policy is escaped.

    Raises:
        PolicyError: The decision procedure has too many steps, or the former version is about another domain.
    """
    facts = _facts(policy, previous)
    mermaid = Markup(render_mermaid(facts["tree"]))  # noqa: S704 - its texts are escaped where it is made
    return _rendered("sop.md.j2", facts | {"mermaid": mermaid}, autoescape=False, finalize=_as_markdown)


def example_pairs(examples: Sequence[BoundaryExample]) -> Iterator[ExamplePair]:
    """Boundary examples side by side: a violation and the allowed one that the policy sets right after it."""
    waiting: BoundaryExample | None = None
    for example in examples:
        if example.label is Label.VIOLATION:
            if waiting is not None:
                yield ExamplePair(waiting, None)
            waiting = example
        else:
            yield ExamplePair(waiting, example)
            waiting = None
    if waiting is not None:
        yield ExamplePair(waiting, None)


def contrasts(policy: Policy) -> Iterator[Contrast]:
    """One pair from every template that says with which words its clause no longer applies."""
    for template in policy.templates:
        if template.controls:
            changed = {**template.slots, **template.controls}
            yield Contrast(policy.by_id[template.clause], _filled(template, template.slots), _filled(template, changed))


def ladder(policy: Policy) -> list[Level]:
    """The severities that the policy uses, the gravest first, and 0 last where contexts are permitted."""
    by_precedence = [*(policy.by_id[i] for i in policy.precedence), *policy.permitting]
    levels = sorted({c.severity for c in policy.clauses}, reverse=True)
    return [Level(level, tuple(c for c in by_precedence if c.severity == level)) for level in levels]


def _filled(template: CaseTemplate, words: dict[str, tuple[str, ...]]) -> str:
    return SLOT.sub(lambda slot: words[slot[1]][0], template.text)


def _facts(policy: Policy, previous: Policy | None) -> dict[str, Any]:
    tree = compile_tree(policy)
    return {
        "policy": policy,
        "tree": tree,
        "digest": policy.digest[:12],
        "first_step": _first_steps(tree.steps),
        "ladder": ladder(policy),
        "pairs": list(example_pairs(policy.boundary_examples)),
        "contrasts": list(contrasts(policy)),
        "escalated": [c for c in policy.clauses if c.action is Action.ESCALATE],
        "escalating": [e for e in tree.endings if e.outcome is Outcome.ESCALATE],
        "abstaining": [e for e in tree.endings if e.outcome is Outcome.ABSTAIN],
        "lifts": {c.id: [v for v in policy.violating if c.id in v.exceptions] for c in policy.permitting},
        "previous": previous,
        "changes": () if previous is None else changes_between(previous, policy),
        "changelog": sorted(policy.changelog, key=lambda change: change.date, reverse=True),
        "arrivals": _arrivals(tree),
        "headline": headline,
        "consequences": consequences,
        "condition": condition,
        "outcomes": OUTCOMES,
    }


def _first_steps(steps: Sequence[Step]) -> dict[str, int]:
    """Clause to the first step that asks about it."""
    return {step.clause: step.number for step in reversed(steps)}


def _arrivals(tree: DecisionTree) -> dict[int, str]:
    """Step to the answers that lead there: ``yes at 3, no at 16``; nothing for the first."""
    return {
        step.number: ", ".join(f"{'yes' if yes else 'no'} at {number}" for number, yes in tree.sources[name])
        for name, step in tree.step.items()
        if name in tree.sources
    }


def _rendered(template: str, facts: dict[str, Any], *, autoescape: bool, finalize: Callable[[Any], Any]) -> str:
    environment = Environment(
        loader=PackageLoader("promptopt.policy", "templates"),
        autoescape=autoescape,  # noqa: S701 - Markdown is escaped by `finalize`
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(facts)


def _visible(value: Any) -> Any:
    return printable(value) if type(value) is str else value


def _as_markdown(value: Any) -> Any:
    """A text on one line, with nothing in it that Markdown would read."""
    if isinstance(value, Markup):
        return value
    flat = _MARKDOWN.sub(r"\\\1", " ".join(printable(str(value)).split()))
    return _LIST_MARK.sub(lambda mark: f"\\{mark[1]}" if mark[1] else f"{mark[2]}\\{mark[3]}", flat)
