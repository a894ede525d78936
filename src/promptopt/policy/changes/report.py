"""The differences as Markdown, for the request in which a policy is reviewed."""

from __future__ import annotations

import re
from collections.abc import Iterable

from promptopt.policy.changes import words
from promptopt.policy.changes.diff import PolicyDiff

_MARKUP = re.compile(r"([\\`*_\[\]<>|~&#$])")


def render_markdown(diff: PolicyDiff) -> str:
    """A report that ends with a line break; nothing that a policy says is read as markup."""
    lines = [f"# {_plain(words.headline(diff))}", ""]
    if diff.same_version:
        lines += [f"Both files say version {_plain(diff.new.version)}: raise the version.", ""]
    if diff.reused:
        lines += ["## Ids that were used before", "", *(f"- {_plain(words.reused(r))}" for r in diff.reused), ""]
    if diff.changes:
        lines += [
            "## Changes",
            "",
            "| where | weight | change | cases | bundles |",
            "|---|---|---|---:|---:|",
            *(_row(diff, number) for number in range(len(diff.changes))),
            "",
            "## Routing",
            "",
            *_list(words.routing(diff.routing)),
            "",
        ]
    if diff.cases is not None:
        lines += ["## Labelled cases", "", *_list(words.cases(diff.cases)), ""]
    if diff.judges:
        lines += [
            "## Bundles",
            "",
            "| bundle | policy | what |",
            "|---|---|---|",
            *(f"| {_plain(j.name)} | {_plain(j.version)} | {_plain(words.judge(j))} |" for j in diff.judges),
            "",
        ]
    return "\n".join(lines)


def _row(diff: PolicyDiff, number: int) -> str:
    change = diff.changes[number]
    cases = words.cases_at(diff, change)
    cells = (change.where, change.weight.value, change.what, "" if cases is None else str(cases))
    return f"| {' | '.join(map(_plain, cells))} | {words.judges_at(diff, change) if diff.judges else ''} |"


def _list(sentences: Iterable[str]) -> list[str]:
    return [f"  - {_plain(s)}" if s.startswith("  ") else f"- {_plain(s)}" for s in sentences]


def _plain(text: str) -> str:
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))
