"""What a judge is made of, read and checked, before any engine is opened."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from promptopt.bundle.composition.model import Cascade, Jury
from promptopt.bundle.model import ParityCase, PolicyRecord, PromptBundle
from promptopt.core.digest import digest_data


@dataclass(frozen=True)
class Leaf:
    """A bundle.

    Attributes:
        place: Where it stands in the whole (``2.1``); empty where it is the whole.
        bundle: The bundle.
        folder: Where it was read from.
    """

    place: str
    bundle: PromptBundle
    folder: Path

    @property
    def name(self) -> str:
        """What people call it."""
        return self.bundle.name

    @property
    def domain(self) -> str:
        """What it judges."""
        return self.bundle.domain

    @property
    def digest(self) -> str:
        """That of the bundle."""
        return self.bundle.digest

    @property
    def fingerprint(self) -> str:
        """That of the judge that was measured."""
        return self.bundle.fingerprint

    @property
    def policies(self) -> tuple[PolicyRecord, ...]:
        """The policy applied."""
        return (self.bundle.policy,)

    def leaves(self) -> Iterator[Leaf]:
        """Itself."""
        yield self

    def moved(self, place: str) -> Leaf:
        """The same bundle at another place."""
        return replace(self, place=place)


@dataclass(frozen=True)
class Branch:
    """A cascade or a jury.

    Attributes:
        place: Where it stands in the whole; empty where it is the whole.
        name: What people call it.
        spec: What its file says.
        parts: Its stages or members, in order.
        parity: Cases pinned when it was made a bundle; none otherwise.
        where: The file or folder, for errors.
    """

    place: str
    name: str
    spec: Cascade | Jury
    parts: tuple[Node, ...]
    where: Path
    parity: tuple[ParityCase, ...] = ()

    @property
    def domain(self) -> str:
        """What all its parts judge."""
        return self.parts[0].domain

    @cached_property
    def digest(self) -> str:
        """Over the settings and the digests of the bundles; neither names nor paths count."""
        return digest_data({"settings": self._settings(), "parts": [part.digest for part in self.parts]})

    @cached_property
    def fingerprint(self) -> str:
        """Over those of the judges that were measured, in order; that of the judge itself where there is but one."""
        return joint_fingerprint([leaf.fingerprint for leaf in self.leaves()])

    @property
    def policies(self) -> tuple[PolicyRecord, ...]:
        """The policies applied, each once."""
        return tuple({policy.digest: policy for part in self.parts for policy in part.policies}.values())

    def leaves(self) -> Iterator[Leaf]:
        """Its bundles, in order."""
        for part in self.parts:
            yield from part.leaves()

    def moved(self, place: str) -> Branch:
        """The same at another place."""
        parts = tuple(part.moved(within(place, number)) for number, part in enumerate(self.parts, 1))
        return replace(self, place=place, parts=parts)

    def _settings(self) -> dict[str, object]:
        settings = self.spec.model_dump(mode="json", exclude={"name", "fitted", "stages", "members"})
        own = {"bundle", "composition", "cost"}
        return {**settings, "parts": [part.model_dump(mode="json", exclude=own) for part in self.spec.parts]}


Node = Leaf | Branch


def within(place: str, number: int) -> str:
    """The place of a part.

    Args:
        place: The place of the whole.
        number: Which part, from 1.
    """
    return f"{place}.{number}" if place else str(number)


def joint_fingerprint(fingerprints: list[str]) -> str:
    """One fingerprint for several engines; that of the engine where all are one."""
    return fingerprints[0] if len(set(fingerprints)) == 1 else digest_data(fingerprints)
