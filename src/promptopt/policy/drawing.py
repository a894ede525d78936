"""Draws a decision tree as SVG that needs no script and stays legible at the width of a phone.

Steps stand below one another in reading order. An answer that ends the procedure leads to a box on the right, one
that goes to the next step leads down, and one that skips steps runs in a lane on the left; all ways to one step share a
lane.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape as escape_html

from promptopt.policy.decision_tree import DecisionTree, Ending, Step
from promptopt.policy.model import Outcome
from promptopt.policy.wording import OUTCOMES, consequences, either, printable

_BOX_WIDTH, _CHIP_WIDTH, _CHIP_GAP = 212, 122, 32
_LANE, _MARGIN, _LANE_GAP = 11, 8, 30
_LINE, _PAD, _ROW_GAP = 15, 8, 26
_TITLE_CHARS, _CHIP_CHARS = 28, 20
_FILLS = {
    Outcome.VIOLATION: ("#fdecea", "#9b2318"),
    Outcome.ESCALATE: ("#fff4d6", "#8a5a00"),
    Outcome.ABSTAIN: ("#f0ecf7", "#5b3d8f"),
    Outcome.ALLOWED: ("#e7f5e9", "#1f6b2e"),
}
_INK, _LINES = "#1c1c1c", "#5a6472"


@dataclass(frozen=True, slots=True)
class _Row:
    """A step in its place; ``chips`` are the answers that end the procedure, ``jumps`` those that skip steps."""

    step: Step
    top: int
    height: int
    title: list[str]
    chips: list[tuple[str, Ending, list[str]]]
    jumps: list[tuple[str, str]]
    onward: str | None

    @property
    def entry(self) -> int:
        return self.top + 12

    def exit(self, number: int) -> int:
        return self.top + self.height - 10 - 14 * number


def render_svg(tree: DecisionTree, title: str) -> str:
    """The drawing.

    Args:
        tree: The decision tree.
        title: What it is called, for people who hear it instead of seeing it.

    Returns:
        One ``svg`` element with ``role="img"``, a title and a description; all texts escaped.
    """
    rows = _rows(tree)
    lanes = _lanes(rows)
    left = _MARGIN + _LANE * (1 + max(lanes.values(), default=-1)) + (_LANE_GAP if lanes else 0)
    width = left + _BOX_WIDTH + _CHIP_GAP + _CHIP_WIDTH + _MARGIN
    height = (rows[-1].top + rows[-1].height if rows else 60) + _MARGIN
    parts = [*_jumps(rows, lanes, left)]
    for row in rows:
        parts.extend(_step(row, left))
    if not rows:
        parts.extend(_chip(tree.endings[0], _chip_lines(tree.endings[0]), _MARGIN, _MARGIN))
    described = (
        f"{len(tree.steps)} yes or no questions with {len(tree.endings)} endings. "
        "The table of steps gives the same procedure in words."
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="tree-title tree-desc" font-family="system-ui, Arial, Helvetica, sans-serif" font-size="12">'
        f'<title id="tree-title">{_escape(title)}</title><desc id="tree-desc">{_escape(described)}</desc>'
        f'<defs><marker id="tree-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0 0 8 4 0 8z" fill="{_LINES}"/></marker></defs>'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>' + "".join(parts) + "</svg>"
    )


def _rows(tree: DecisionTree) -> list[_Row]:
    rows: list[_Row] = []
    top = _MARGIN
    for step in tree.steps:
        ways = (("yes", step.yes), ("no", step.no))
        chips = [(a, tree.ending[t], _chip_lines(tree.ending[t])) for a, t in ways if t in tree.ending]
        onward = next((a for a, t in ways if t == str(step.number + 1)), None)
        jumps = [(a, t) for a, t in ways if t in tree.step and a != onward]
        title = textwrap.wrap(step.title, _TITLE_CHARS)
        needed = sum(_chip_height(lines) for _, _, lines in chips) + 6 * max(len(chips) - 1, 0)
        height = max(_LINE * (1 + len(title)) + 2 * _PAD, needed, 24 + 14 * len(jumps))
        rows.append(_Row(step, top, height, title, chips, jumps, onward))
        top += height + _ROW_GAP
    return rows


def _lanes(rows: list[_Row]) -> dict[str, int]:
    """Step to the lane of the jumps that lead to it: short ones nearest to the boxes, none over another."""
    spans: dict[str, tuple[int, int]] = {}
    for i, row in enumerate(rows):
        for _, target in row.jumps:
            spans[target] = (min(i, spans.get(target, (i, 0))[0]), int(target) - 1)
    taken: list[list[tuple[int, int]]] = []
    lanes: dict[str, int] = {}
    for target, (low, high) in sorted(spans.items(), key=lambda item: (item[1][1] - item[1][0], item[1])):
        lane = next((k for k, used in enumerate(taken) if all(high < a or b < low for a, b in used)), len(taken))
        if lane == len(taken):
            taken.append([])
        taken[lane].append((low, high))
        lanes[target] = lane
    return lanes


def _jumps(rows: list[_Row], lanes: dict[str, int], left: int) -> Iterator[str]:
    for target, lane in lanes.items():
        x = left - _LANE_GAP - _LANE * lane
        end = rows[int(target) - 1].entry
        sources = [(r.exit(i), a) for r in rows for i, (a, t) in enumerate(r.jumps) if t == target]
        first = min(y for y, _ in sources)
        yield _path(f"M{x} {first}V{end}H{left - 1}", arrow=True)
        for y, answer in sources:
            yield _path(f"M{left} {y}H{x}")
            yield f'<circle cx="{x}" cy="{y}" r="2.4" fill="{_LINES}"/>'
            yield _text(left - 4, y - 3, answer, size=10.5, anchor="end")


def _step(row: _Row, left: int) -> Iterator[str]:
    step = row.step
    fill, edge = ("#eaf1fb", "#2f5d9b") if step.part == "exception" else ("#ffffff", "#3b4350")
    yield _box(left, row.top, _BOX_WIDTH, row.height, fill, edge, 4)
    yield _text(left + _PAD, row.top + _PAD + 11, f"{step.number}. {step.clause}", bold=True)
    if step.part == "exception":
        yield _text(left + _BOX_WIDTH - _PAD, row.top + _PAD + 11, "exception?", size=10.5, anchor="end")
    for i, line in enumerate(row.title, start=1):
        yield _text(left + _PAD, row.top + _PAD + 11 + _LINE * i, line)
    if row.onward is not None:
        x, y = left + 26, row.top + row.height
        yield _path(f"M{x} {y}V{y + _ROW_GAP - 1}", arrow=True)
        yield _text(x + 6, y + 16, row.onward, size=10.5)
    y = row.top
    for answer, ending, lines in row.chips:
        height = _chip_height(lines)
        x, middle = left + _BOX_WIDTH, y + min(height, row.height) // 2
        yield _path(f"M{x} {middle}H{x + _CHIP_GAP - 1}", arrow=True)
        yield _text(x + 5, middle - 4, answer, size=10.5)
        yield from _chip(ending, lines, x + _CHIP_GAP, y)
        y += height + 6


def _chip(ending: Ending, lines: list[str], x: int, y: int) -> Iterator[str]:
    fill, edge = _FILLS[ending.look]
    yield _box(x, y, _CHIP_WIDTH, _chip_height(lines), fill, edge, 12)
    for i, line in enumerate(lines):
        yield _text(x + 9, y + 16 + 13 * i, line, size=12 if i == 0 else 10.5, bold=i == 0)


def _chip_lines(ending: Ending) -> list[str]:
    several = len(ending.consequences) > 1
    said = [either([c.clause for c in ending.consequences])] if several else consequences(ending)
    head = "Escalate" if ending.outcome is Outcome.ESCALATE else OUTCOMES[ending.outcome]
    return [f"{ending.id}. {head}", *(line for text in said for line in textwrap.wrap(text, _CHIP_CHARS))]


def _chip_height(lines: list[str]) -> int:
    return 13 * len(lines) + 13


def _box(x: int, y: int, width: int, height: int, fill: str, edge: str, radius: int) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="{radius}" fill="{fill}" stroke="{edge}" '
        'stroke-width="1.2"/>'
    )


def _path(line: str, arrow: bool = False) -> str:
    head = ' marker-end="url(#tree-arrow)"' if arrow else ""
    return f'<path d="{line}" fill="none" stroke="{_LINES}" stroke-width="1.3"{head}/>'


def _escape(text: str) -> str:
    return escape_html(printable(text))


def _text(x: int, y: int, text: str, *, size: float = 12, bold: bool = False, anchor: str = "start") -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" fill="{_INK}"{weight}>{_escape(text)}</text>'
    )
