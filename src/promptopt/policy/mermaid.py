"""A decision tree as a Mermaid flowchart."""

from __future__ import annotations

from promptopt.policy.decision_tree import DecisionTree, Ending
from promptopt.policy.model import Outcome
from promptopt.policy.wording import consequences, headline

_STYLES = (
    "classDef violation fill:#fdecea,stroke:#9b2318,color:#1c1c1c",
    "classDef escalate fill:#fff4d6,stroke:#8a5a00,color:#1c1c1c",
    "classDef allowed fill:#e7f5e9,stroke:#1f6b2e,color:#1c1c1c",
    "classDef exception fill:#eaf1fb,stroke:#2f5d9b,color:#1c1c1c",
)
_ABSTAIN_STYLE = "classDef abstain fill:#f0ecf7,stroke:#5b3d8f,color:#1c1c1c"


def render_mermaid(tree: DecisionTree) -> str:
    """The flowchart, top down.

    Args:
        tree: The decision tree.

    Returns:
        Mermaid source that ends with a line break. Texts are quoted, and what Mermaid or HTML would read is escaped.
    """
    lines = ["flowchart TD"]
    for step in tree.steps:
        mark = ":::exception" if step.part == "exception" else ""
        lines.append(f'  q{step.number}{{"{_quoted(f"{step.number}. {step.clause}: {step.question}")}"}}{mark}')
    lines.extend(_ending(ending) for ending in tree.endings)
    for step in tree.steps:
        lines.append(f"  q{step.number} -- yes --> {_name(tree, step.yes)}")
        lines.append(f"  q{step.number} -- no --> {_name(tree, step.no)}")
    lines.extend(f"  {style}" for style in _STYLES)
    if any(ending.look is Outcome.ABSTAIN for ending in tree.endings):
        lines.append(f"  {_ABSTAIN_STYLE}")
    return "\n".join(lines) + "\n"


def _ending(ending: Ending) -> str:
    said = "<br/>".join(_quoted(text) for text in (f"{ending.id}. {headline(ending)}", *consequences(ending)))
    return f'  end{ending.id}(["{said}"]):::{ending.look}'


def _name(tree: DecisionTree, target: str) -> str:
    return f"q{target}" if target in tree.step else f"end{target}"


def _quoted(text: str) -> str:
    """Letters, digits and plain punctuation stay; all else goes by its number, as Mermaid's entities do."""
    flat = " ".join(text.split())
    return "".join(c if c.isalnum() or c in " .,:?!'()/-" else f"#{ord(c)};" for c in flat)
