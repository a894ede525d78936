"""Opens a judge: one engine for all bundles that were measured on the same one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from promptopt.bundle.composition.cascade import CascadeJudge
from promptopt.bundle.composition.jury import JuryJudge
from promptopt.bundle.composition.model import Band, Cascade, held_within
from promptopt.bundle.composition.reader import read_judge
from promptopt.bundle.composition.tree import Branch, Leaf, Node
from promptopt.bundle.contract import TextJudge
from promptopt.bundle.runtime import BundleJudge
from promptopt.engines.base import JudgeEngine
from promptopt.judges.bundles import open_bundle_engine

Opener = Callable[[Mapping[str, Any], Path], JudgeEngine]
_NO_BAND: Band = (None, None)


class EnginePool:
    """Engines by the fingerprint of the judge that was measured; each is opened once.

    Args:
        kind: Kind of engine to use instead of the bundles' own; None for their own.
        opener: From a judge's configuration, and the bundle's folder for errors, to its engine; by default
            :func:`promptopt.judges.bundles.open_bundle_engine`.
    """

    def __init__(self, kind: str | None = None, opener: Opener | None = None) -> None:
        self._kind = kind
        self._opener = opener or open_bundle_engine
        self._engines: dict[str, JudgeEngine] = {}

    def engine(self, leaf: Leaf) -> JudgeEngine:
        """The engine for a bundle.

        Raises:
            BundleError: The bundle's judge does not fit this version.
            EngineError: The judge cannot be loaded here.
        """
        known = self._engines.get(leaf.fingerprint)
        if known is None:
            config = dict(leaf.bundle.judge)
            if self._kind is not None:
                config["engine"] = self._kind
            known = self._engines[leaf.fingerprint] = self._opener(config, leaf.folder)
        return known

    def close(self) -> None:
        """Closes every engine."""
        while self._engines:
            self._engines.popitem()[1].close()


class OpenJudge:
    """A judge with its engines; a context manager that closes them.

    Attributes:
        judge: The judge.
    """

    def __init__(self, judge: TextJudge, pool: EnginePool) -> None:
        self.judge = judge
        self._pool = pool

    def __enter__(self) -> TextJudge:
        return self.judge

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the engines."""
        self._pool.close()


def open_judge(
    node: Node | Path,
    *,
    any_judge: bool = False,
    kind: str | None = None,
    opener: Opener | None = None,
) -> OpenJudge:
    """Opens a bundle or a composition for judging.

    Args:
        node: What to open, read or to be read.
        any_judge: Whether other judges than those that were measured will do.
        kind: Kind of engine to use instead of the bundles' own.
        opener: As in :class:`EnginePool`.

    Returns:
        The judge, for the caller to close.

    Raises:
        BundleError: It cannot be read, or an engine is not the one that was measured.
        EngineError: An engine cannot be loaded here.
    """
    pool = EnginePool(kind, opener)
    try:
        judge = build(read_judge(node) if isinstance(node, Path) else node, pool)
        if not any_judge:
            judge.check_engine()
    except BaseException:
        pool.close()
        raise
    return OpenJudge(judge, pool)


def build(node: Node, pool: EnginePool) -> TextJudge:
    """The judge of a node that stands by itself, with engines from the pool, which the caller closes."""
    return BundleJudge(node.bundle, pool.engine(node)) if isinstance(node, Leaf) else _composite(node, pool)


def _composite(branch: Branch, pool: EnginePool, band: Band | None = None) -> TextJudge:
    bundles = {leaf.place: BundleJudge(leaf.bundle, pool.engine(leaf)) for leaf in branch.leaves()}
    spec = branch.spec
    if isinstance(spec, Cascade):
        stages = zip(branch.parts, spec.stages, strict=True)
        return CascadeJudge(branch, [_stage(node, stage.band, pool) for node, stage in stages], bundles, spec)
    return JuryJudge(branch, [_stage(node, _NO_BAND, pool) for node in branch.parts], bundles, spec, band or _NO_BAND)


def _stage(node: Node, band: Band | None, pool: EnginePool) -> TextJudge:
    """A part of a composition, which decides about bands: a bundle's own counts only where it gives it none.

    The threshold is held within the band, so that the labels of what a stage settles are those of the band.
    """
    if isinstance(node, Branch):
        return _composite(node, pool, band)
    if band is None:
        return build(node, pool)
    point = node.bundle.operating_point
    held = point.model_copy(update={"threshold": held_within(point.threshold, band)})
    return BundleJudge(node.bundle.model_copy(update={"band": None, "operating_point": held}), pool.engine(node))
