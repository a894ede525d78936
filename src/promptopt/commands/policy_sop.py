"""``promptopt policy sop``."""

from __future__ import annotations

from pathlib import Path

from promptopt.commands.output import console, count, print_json
from promptopt.commands.policy_cases import write_whole
from promptopt.policy.changes.between import changes_between
from promptopt.policy.decision_tree import compile_tree
from promptopt.policy.label_studio import render_label_studio
from promptopt.policy.model import Policy
from promptopt.policy.reader import read_policy
from promptopt.policy.sop import render_html, render_markdown

_MARKDOWN, _HTML, _LABEL_STUDIO = "sop.md", "sop.html", "label_studio.xml"


def sop(policy_path: Path, folder: Path, previous_path: Path | None, as_json: bool) -> None:
    """Writes what people label by: the procedure as Markdown and HTML, and the labelling configuration."""
    policy = read_policy(policy_path)
    previous = None if previous_path is None else read_policy(previous_path)
    for name, text in _files(policy, previous).items():
        write_whole(folder / name, text)
    tree = compile_tree(policy)
    changes = () if previous is None else changes_between(previous, policy)
    files = {"markdown": _MARKDOWN, "html": _HTML, "label_studio": _LABEL_STUDIO}
    if as_json:
        print_json(
            {
                "policy": policy.digest,
                "domain": policy.domain,
                "version": policy.version,
                "previous": None if previous is None else previous.digest,
                "changes": [change.model_dump(mode="json", exclude={"before"}) for change in changes],
                "steps": len(tree.steps),
                "endings": len(tree.endings),
                "files": {kind: str(folder / name) for kind, name in files.items()},
            }
        )
        return
    out = console()
    what = f"{count(len(tree.steps), 'step')}, {count(len(tree.endings), 'ending')}"
    out.print(f"{policy.title} {policy.version}: {what}", markup=False, soft_wrap=True)
    if previous is not None:
        said = f"{count(len(changes), 'change')} since version {previous.version}"
        out.print(said, markup=False, soft_wrap=True)
    for name in files.values():
        out.print(f"written to {folder / name}", markup=False, soft_wrap=True)


def _files(policy: Policy, previous: Policy | None) -> dict[str, str]:
    """All are made before the first is written, so that a fault leaves the folder as it was."""
    return {
        _MARKDOWN: render_markdown(policy, previous),
        _HTML: render_html(policy, previous),
        _LABEL_STUDIO: render_label_studio(policy),
    }
