"""Reads what ``--bundle`` names: a bundle, a composite bundle, or the file of a composition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from promptopt.bundle.composition.files import read_composite
from promptopt.bundle.composition.model import Cascade, Jury, Part
from promptopt.bundle.composition.tree import Branch, Leaf, Node, within
from promptopt.bundle.files import read_bundle
from promptopt.bundle.folders import COMPOSITE_MANIFEST
from promptopt.bundle.model import ParityCase
from promptopt.core.yaml_file import YamlFile, explain_validation, read_yaml_file
from promptopt.errors import BundleError

MAX_DEPTH: Final = 4
MOST_BUNDLES: Final = 64
_SHAPES: dict[str, type[Cascade] | type[Jury]] = {"cascade": Cascade, "jury": Jury}


def read_judge(path: Path) -> Node:
    """Reads a bundle or a composition with everything that it is made of.

    Args:
        path: Folder of a bundle, folder of a composite bundle, or YAML or JSON file of a composition.

    Returns:
        The bundle, or the composition with its parts at their places.

    Raises:
        BundleError: A file or folder is missing, altered or malformed; a composition contains itself, goes too deep,
            holds a stage that settles everything, or bundles of different domains. Names the file, and the line of a
            composition's file.
    """
    node = _Reading(()).node(path)
    if isinstance(node, Branch):
        node = node.moved("")
        _check_whole(node)
    return node


@dataclass(frozen=True)
class _Reading:
    """Where the reader is: the compositions that it is inside of, outermost first."""

    chain: tuple[Path, ...]

    def node(self, path: Path) -> Node:
        if not path.is_dir():
            return self._file(path)
        if not (path / COMPOSITE_MANIFEST).is_file():
            return Leaf("", read_bundle(path), path)
        inner = self._into(path)
        composite = read_composite(path)
        found = inner.branch(composite.composition, composite.name, path, composite.parity)
        if found.digest != composite.digest:
            raise BundleError("its bundles are not those that were composed", where=path, remedy="compose it again")
        return found

    def branch(
        self, spec: Cascade | Jury, name: str, where: Path, parity: tuple[ParityCase, ...] = (), place: str = ""
    ) -> Branch:
        """The composition with its parts read; errors name ``where``."""
        folder = where if where.is_dir() else where.parent
        parts = tuple(
            self._part(part, folder, where, within(place, number)) for number, part in enumerate(spec.parts, 1)
        )
        _check_parts(spec, parts, where)
        return Branch("", spec.name or name, spec, parts, where, parity)

    def _part(self, part: Part, folder: Path, where: Path, place: str) -> Node:
        if part.composition is not None:
            deeper = self._into(where, again=True)
            return deeper.branch(part.composition, f"{part.composition.shape} {place}", where, place=place)
        return self.node(folder / (part.bundle or ""))

    def _into(self, path: Path, *, again: bool = False) -> _Reading:
        """One level further down; ``again`` for a composition that stands inside a file already being read."""
        resolved = path.resolve()
        if resolved in self.chain and not again:
            way = " -> ".join(p.name for p in (*self.chain[self.chain.index(resolved) :], resolved))
            raise BundleError(f"the composition contains itself ({way})", where=path, remedy="break the circle")
        if len(self.chain) >= MAX_DEPTH:
            raise BundleError(
                f"compositions are nested more than {MAX_DEPTH} deep", where=path, remedy="name the bundles directly"
            )
        return _Reading((*self.chain, resolved))

    def _file(self, path: Path) -> Branch:
        inner = self._into(path)
        if not path.exists():
            raise BundleError("there is neither a bundle nor a composition", where=path, remedy="check the path")
        file = read_yaml_file(path, BundleError)
        return inner.branch(parse_composition(file), path.stem, path)


def parse_composition(file: YamlFile) -> Cascade | Jury:
    """What a composition's file says, without looking at its bundles.

    Raises:
        BundleError: A key is missing, unknown or holds a value that does not fit; names the line.
    """
    shape = file.data.get("shape")
    if not isinstance(shape, str) or shape not in _SHAPES:
        raise BundleError(
            f"`shape` is {shape!r}",
            where=f"{file.path}:{file.line(('shape',))}",
            remedy=f"write one of {', '.join(_SHAPES)}",
        )
    try:
        return _SHAPES[shape].model_validate(dict(file.data))
    except ValidationError as cause:
        place = _without_tags(cause.errors()[0]["loc"])
        raise BundleError(
            explain_validation(cause), where=f"{file.path}:{file.line(place)}", remedy="correct the file"
        ) from cause


def _without_tags(place: Sequence[str | int]) -> tuple[str | int, ...]:
    """Pydantic's place in the file, without the shapes that it puts in to say which kind of composition it tried."""
    return tuple(key for i, key in enumerate(place) if not (i and place[i - 1] == "composition" and key in _SHAPES))


def _check_parts(spec: Cascade | Jury, parts: Sequence[Node], where: Path) -> None:
    if not isinstance(spec, Cascade):
        return
    for number, (stage, node) in enumerate(zip(spec.stages, parts, strict=True), 1):
        if isinstance(node, Branch) and isinstance(node.spec, Cascade):
            raise BundleError(
                f"stage {number} is a cascade itself", where=where, remedy="list its stages in this cascade instead"
            )
        if number < len(parts) and stage.band is None and not _doubts(node):
            raise BundleError(
                f"stage {number} ({node.name}) leaves nothing to the next stage",
                where=where,
                remedy="give it a band of probabilities, such as `band: [0.05, 0.9]`",
            )


def _doubts(node: Node) -> bool:
    """Whether a judge says by itself which cases it would rather not settle."""
    if isinstance(node, Leaf):
        return node.bundle.band is not None
    return isinstance(node.spec, Jury) and node.spec.agreement > 0


def _check_whole(branch: Branch) -> None:
    leaves = list(branch.leaves())
    if len(leaves) > MOST_BUNDLES:
        raise BundleError(
            f"the composition holds {len(leaves)} bundles", where=branch.where, remedy=f"use at most {MOST_BUNDLES}"
        )
    by_domain = {leaf.domain: leaf for leaf in leaves}
    if len(by_domain) > 1:
        judged = ", ".join(f"{leaf.place} ({leaf.name}) judges {domain}" for domain, leaf in by_domain.items())
        raise BundleError(
            f"the bundles are of different domains: {judged}",
            where=branch.where,
            remedy="compose bundles of one domain; `promptopt judge` takes several domains side by side",
        )
