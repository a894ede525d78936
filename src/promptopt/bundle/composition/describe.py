"""A composition in words, for tables."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from promptopt.bundle.composition.model import Band, Cascade, Stage
from promptopt.bundle.composition.tree import Branch, Leaf, Node


class Described(NamedTuple):
    """One row.

    Attributes:
        place: Where it stands.
        name: What people call it.
        does: What it does there.
    """

    place: str
    name: str
    does: str


def describe(branch: Branch) -> Iterator[Described]:
    """Every part of a composition, in order, with what it does."""
    spec = branch.spec
    whole = 0.0 if isinstance(spec, Cascade) else sum(member.weight for member in spec.members)
    for number, node in enumerate(branch.parts, 1):
        if isinstance(spec, Cascade):
            does = _stage(spec.stages[number - 1], node, number == len(branch.parts))
        else:
            does = _member(spec.members[number - 1].weight, whole)
        yield Described(node.place, node.name, does)
        if isinstance(node, Branch):
            yield from describe(node)


def settings(branch: Branch) -> str:
    """What holds for the composition as a whole."""
    spec = branch.spec
    if isinstance(spec, Cascade):
        return f"cascade, {len(spec.stages)} stages"
    words = spec.aggregate.replace("_", " ")
    threshold = "" if spec.threshold is None else f", threshold {spec.threshold:.4g}"
    return f"jury, {words} of {len(spec.members)} members, agreement {spec.agreement:g}{threshold}"


def _stage(stage: Stage, node: Node, last: bool) -> str:
    goes = "to people" if last else "to the next stage"
    if stage.band is not None:
        return f"{_band(stage.band)} {goes}"
    own = isinstance(node, Leaf) and node.bundle.band is not None
    if own or isinstance(node, Branch):
        return f"what it doubts itself {goes}"
    return "settles everything"


def _band(band: Band) -> str:
    low, high = band
    return f"[{0 if low is None else low:.4g}, {1 if high is None else high:.4g}{']' if high is None else ')'}"


def _member(weight: float, whole: float) -> str:
    return f"weight {weight:.4g} of {whole:.4g}" if weight else "not asked"
