"""The README that a composite bundle carries: generated from its content, so that it cannot drift from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptopt.bundle.composition.describe import describe
from promptopt.bundle.composition.tree import Branch

if TYPE_CHECKING:
    from promptopt.bundle.composition.files import CompositeBundle

_USE = """## Judge with it

    promptopt judge --bundle . --in posts.jsonl --out verdicts.jsonl

or from Python:

    from pathlib import Path

    from promptopt.bundle.composition.opening import open_judge

    with open_judge(Path(".")) as judge:
        verdicts = judge.judge(["a text", "another"])

A verdict is a label with a probability, or the reason why there is none; no verdict is never *allowed*. Verdicts with
`escalate` are for people to decide.

## Verify it

    promptopt bundle verify .

judges the pinned cases of every bundle and of the composition again and compares probabilities and verdicts with those
recorded. `sha256sum --check composition.sha256` checks the manifest, which holds the digest of every other file.
"""


def render_readme(branch: Branch, composite: CompositeBundle) -> str:
    """The Markdown text; holds settings and digests, and no text of a case."""
    lines = [
        f"# {_inline(branch.name)}\n",
        f"A {branch.spec.shape} of {len(branch.parts)} judges for the domain `{branch.domain}`, composed "
        f"{composite.created:%Y-%m-%d %H:%M} UTC by promptopt {_inline(composite.promptopt)}.\n",
        "`parity.jsonl` here and under `members/` holds the texts of the pinned cases, which may be offensive or "
        "disturbing.\n",
        _USE,
        "## Made of\n",
        "| place | judge | what it does |\n| --- | --- | --- |",
        *(f"| {row.place} | {_inline(row.name)} | {_inline(row.does)} |" for row in describe(branch)),
        "",
        f"Composition `{composite.digest}`; " + ", ".join(f"{n.place} `{n.digest}`" for n in branch.leaves()) + ".\n",
    ]
    if branch.spec.fitted is not None and branch.spec.fitted.note:
        lines.append(f"Of the fit: {_inline(branch.spec.fitted.note)}.\n")
    return "\n".join(lines)


def _inline(text: str) -> str:
    """Text that stays on its line and in its table cell."""
    return " ".join(text.split()).replace("|", "\\|")
