"""Writes a draft as a policy file, with a mark and a hint at every place that the author has to fill."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import yaml

from promptopt.policy.drafting.draft import ClauseDraft, PolicyDraft
from promptopt.policy.linting.checks.wording import FILL_IN

VERSION = "0.1.0"
_WIDTH = 118
_HINTS = {
    "severity": "1 (low) to 4 (critical) for a violation, 0 for a context that permits",
    "action": "remove, restrict, label or escalate; allow for severity 0",
}


def write_policy(draft: PolicyDraft, day: date, name: str) -> str:
    """The file.

    Args:
        draft: The draft.
        day: The date of the first entry in its changelog.
        name: Name of the file, for a comment.

    Returns:
        YAML that ends with a line break. A policy that can be read comes of it when no mark is left; until then
        `promptopt policy lint` finds every mark.
    """
    return "\n".join((*_head(draft, name), *_clauses(draft), *_routing(draft), *_tail(draft, day))) + "\n"


def _head(draft: PolicyDraft, name: str) -> Iterator[str]:
    yield f"# Laid out from {_comment(draft.document)}. Every mark is a place for the author to decide:"
    yield f"# `promptopt policy lint {_comment(name)}` lists them, and docs/policy.md explains every key."
    todo = {
        "schema_version": 1,
        "domain": draft.domain,
        "title": draft.title,
        "version": VERSION,
        "language": draft.language,
        "purpose": draft.purpose or f"{FILL_IN}: what the policy protects, and what it does not aim at",
        "question": f"{FILL_IN}: one yes/no question that decides the whole policy; yes is a violation",
        "summary": f"{FILL_IN}: the policy in two or three sentences, with what it allows",
    }
    yield _yaml(todo | {"terms": []})


def _clauses(draft: PolicyDraft) -> Iterator[str]:
    yield "clauses:"
    for clause in draft.clauses:
        yield f"  # {_comment(clause.source)}"
        for line in _yaml([_clause(clause)]).split("\n"):
            key = line.strip().removeprefix("- ").partition(":")[0]
            hint = f"  # {_HINTS[key]}" if key in _HINTS and line.endswith(FILL_IN) else ""
            if line == f"- id: {clause.id}" and clause.drafted:
                parts = ", ".join(clause.drafted)
                hint = f"  # {FILL_IN}: check what {_comment(draft.author)} drafted ({parts}), then take this mark away"
            yield f"  {line}{hint}" if line else line


def _clause(clause: ClauseDraft) -> dict[str, Any]:
    return {
        "id": clause.id,
        "title": clause.title,
        "severity": FILL_IN if clause.severity is None else clause.severity,
        "definition": clause.definition or f"{FILL_IN}: what the clause covers, by what can be seen in the text",
        "question": clause.question or f"{FILL_IN}: a yes/no question that the text alone answers",
        "includes": list(clause.includes) or [f"{FILL_IN}: a kind of text that the clause covers"],
        "excludes": list(clause.excludes) or [f"{FILL_IN}: a kind of text that looks alike and is not covered"],
        "exceptions": [],
        "zero_tolerance": False,
        "action": FILL_IN if clause.action is None else clause.action.value,
    }


def _routing(draft: PolicyDraft) -> Iterator[str]:
    violating = [clause.id for clause in draft.clauses if clause.severity != 0]
    order = f"{FILL_IN}: the order, the clause to cite first at the head; leave out clauses of severity 0"
    yield f"precedence: [{', '.join(violating)}]  # {order}"
    yield f"routing:  # {FILL_IN}: which combinations violate; contexts of severity 0 go to `none`"
    yield f"  - {{id: R1, when: {{any: [{', '.join(violating)}]}}, then: violation}}"
    yield "  - {id: R2, when: {}, then: allowed}"


def _tail(draft: PolicyDraft, day: date) -> Iterator[str]:
    pairs = "short texts in pairs, a violation and right after it one that differs in as little as decides"
    yield f"boundary_examples: []  # {FILL_IN}: {pairs}"
    yield _yaml({"changelog": [{"version": VERSION, "date": day, "change": f"Laid out from {draft.document}."}]})


def _yaml(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=None)
    return text.rstrip("\n")


def _comment(text: str) -> str:
    """Fit for one line of a comment, which knows no escapes."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
