"""Makes a self-contained bundle of a composition: its bundles copied, cases pinned."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from promptopt import __version__
from promptopt.bundle.composition.files import MEMBERS, CompositeBundle, write_composite
from promptopt.bundle.composition.model import Cascade, Jury
from promptopt.bundle.composition.parity import pinned
from promptopt.bundle.composition.readme import render_readme
from promptopt.bundle.composition.tree import Branch, Leaf
from promptopt.bundle.contract import TextJudge, TracedVerdict
from promptopt.bundle.model import MAX_PARITY_CASES
from promptopt.errors import BundleError

_SLUG: Final = re.compile(r"[^a-z0-9]+")


def compose(branch: Branch, judge: TextJudge, folder: Path, *, overwrite: bool = False) -> CompositeBundle:
    """Writes a composition as a bundle.

    Args:
        branch: The composition.
        judge: Its judge, which judges the cases to be pinned: those that its bundles pin, as far as it can judge them.
        folder: Where to; parents are created.
        overwrite: Replace a bundle that is already there.

    Returns:
        What was written.

    Raises:
        BundleError: The folder cannot be written, or none of the cases can be judged.
        EngineError: An engine cannot serve the cases.
    """
    members = _members(branch)
    ids, texts = _cases(branch)
    traced = judge.judge_traced(texts)
    chosen = _spread(traced)
    if not chosen:
        raise BundleError(
            "the composition judges none of the cases that its bundles pin", where=branch.where, remedy="verify them"
        )
    composite = CompositeBundle(
        name=branch.name,
        domain=branch.domain,
        created=datetime.now(UTC),
        promptopt=__version__,
        composition=in_one_piece(branch, {digest: path for digest, (path, _) in members.items()}),
        digest=branch.digest,
        parity=pinned([ids[row] for row in chosen], [texts[row] for row in chosen], [traced[row] for row in chosen]),
    )
    sources = dict(members.values())
    write_composite(composite, sources, render_readme(branch, composite), folder, overwrite=overwrite)
    return composite


def _members(branch: Branch) -> dict[str, tuple[str, Path]]:
    """Digest of each bundle to where it goes and where it comes from; a bundle that stands twice is copied once."""
    members: dict[str, tuple[str, Path]] = {}
    for leaf in branch.leaves():
        if leaf.digest not in members:
            slug = _SLUG.sub("-", leaf.name.lower()).strip("-")[:40] or "bundle"
            members[leaf.digest] = (f"{MEMBERS}/{len(members) + 1:02d}-{slug}", leaf.folder)
    return members


def in_one_piece(branch: Branch, folders: Mapping[str, str]) -> Cascade | Jury:
    """What a composition's file would say if it were the only one.

    Args:
        branch: The composition.
        folders: Digest of each bundle to the path that the file names it by.
    """
    parts = [
        part.model_copy(
            update={"bundle": folders[node.digest], "composition": None}
            if isinstance(node, Leaf)
            else {"bundle": None, "composition": in_one_piece(node, folders)}
        )
        for part, node in zip(branch.spec.parts, branch.parts, strict=True)
    ]
    key = "stages" if isinstance(branch.spec, Cascade) else "members"
    return branch.spec.model_copy(update={"name": branch.name, key: tuple(parts)})


def _cases(branch: Branch) -> tuple[list[str], list[str]]:
    """Ids and texts of the cases that the bundles pin, each text once and no id twice."""
    ids: dict[str, str] = {}
    for leaf in branch.leaves():
        for case in leaf.bundle.parity:
            taken = case.id in ids.values()
            ids.setdefault(case.item, f"{leaf.place}:{case.id}" if taken else case.id)
    return list(ids.values()), list(ids)


def _spread(traced: Sequence[TracedVerdict]) -> list[int]:
    """Rows to pin: of every way through the composition as many, spread over its scores; the unjudged are left out."""
    ways: dict[tuple[str, ...], list[int]] = {}
    for row in sorted(
        (row for row, told in enumerate(traced) if told.verdict.is_judged), key=lambda r: traced[r].score
    ):
        ways.setdefault(tuple(sorted(traced[row].scores)), []).append(row)
    left = MAX_PARITY_CASES
    chosen: list[int] = []
    for remaining, rows in zip(range(len(ways), 0, -1), sorted(ways.values(), key=len), strict=True):
        size = min(len(rows), left // remaining)
        at = np.unique(np.linspace(0, len(rows) - 1, size).round().astype(int)) if size else np.empty(0, dtype=int)
        chosen.extend(rows[i] for i in at)
        left -= len(at)
    return sorted(chosen)
