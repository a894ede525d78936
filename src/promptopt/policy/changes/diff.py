"""Everything that differs between two versions of a policy, and everything that the differences touch."""

from __future__ import annotations

from collections.abc import Sequence

from promptopt.core.model import FrozenModel
from promptopt.policy.changes.between import changes_between, reused_ids
from promptopt.policy.changes.cases import CaseEffect, Labelled, case_effect
from promptopt.policy.changes.judges import JudgeInUse, TouchedJudge, touched_judge
from promptopt.policy.changes.model import Changed, ReusedId, Weight
from promptopt.policy.changes.routing import RoutingComparison, RoutingEffect, compare_routing, routing_effect
from promptopt.policy.model import Policy


class Version(FrozenModel):
    """Which policy.

    Attributes:
        version: Its version.
        digest: SHA-256 of its content.
    """

    version: str
    digest: str


class PolicyDiff(FrozenModel):
    """The differences.

    Attributes:
        domain: The domain of both.
        title: The present title.
        old: The former version.
        new: The present one.
        added: Ids of the new clauses.
        removed: Ids of the clauses that are gone.
        changes: What changed, clauses first.
        reused: Clause ids that name another clause now.
        routing: What the routing does otherwise; None where it cites too many clauses for a truth table.
        cases: What the changes do to labelled cases; None where none were given.
        judges: What they do to judges of this domain, in the order given.
    """

    domain: str
    title: str
    old: Version
    new: Version
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changes: tuple[Changed, ...]
    reused: tuple[ReusedId, ...]
    routing: RoutingEffect | None
    cases: CaseEffect | None = None
    judges: tuple[TouchedJudge, ...] = ()

    @property
    def same_version(self) -> bool:
        """Whether two different policies have one version."""
        return self.old.version == self.new.version and self.old.digest != self.new.digest

    def of_weight(self, weight: Weight) -> tuple[Changed, ...]:
        """The changes of one weight."""
        return tuple(change for change in self.changes if change.weight is weight)


class PolicyPair:
    """Two versions of a policy, compared once.

    Args:
        old: The former version.
        new: The present one.

    Raises:
        PolicyError: They are about different domains.
    """

    def __init__(self, old: Policy, new: Policy) -> None:
        self._old = old
        self._new = new
        self._changes = changes_between(old, new)
        self._compared: RoutingComparison | None = compare_routing(old, new)

    def cases(self, name: str, cases: Sequence[Labelled]) -> CaseEffect:
        """What the changes do to cases that were labelled under the former version."""
        return case_effect(name, cases, self._changes, self._compared, (self._old, self._new))

    def diff(self, cases: CaseEffect | None = None, judges: Sequence[JudgeInUse] = ()) -> PolicyDiff:
        """The differences, with what they do to cases and to the judges of this domain."""
        old, new = self._old, self._new
        return PolicyDiff(
            domain=new.domain,
            title=new.title,
            old=Version(version=old.version, digest=old.digest),
            new=Version(version=new.version, digest=new.digest),
            added=tuple(c.id for c in new.clauses if c.id not in old.by_id),
            removed=tuple(c.id for c in old.clauses if c.id not in new.by_id),
            changes=self._changes,
            reused=reused_ids(old, new),
            routing=None if self._compared is None else routing_effect(self._compared),
            cases=cases,
            judges=tuple(touched_judge(j, self._changes, old, new) for j in judges if j.domain == new.domain),
        )
