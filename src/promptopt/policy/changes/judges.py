"""Which exported judges a change of the policy touches: they read and decide by the policy that they were made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from promptopt.core.model import FrozenModel
from promptopt.policy.changes.model import Changed, Weight
from promptopt.policy.jury import JuryProcedure
from promptopt.policy.model import Policy
from promptopt.policy.procedure import Procedure


@dataclass(frozen=True, slots=True)
class JudgeInUse:
    """An exported judge.

    Attributes:
        name: What people call it.
        domain: Its domain.
        policy_version: Version of the policy that it was made from.
        policy_digest: Digest of that policy.
        prompts: Everything that it reads besides the case.
        procedure: How it decides.
    """

    name: str
    domain: str
    policy_version: str
    policy_digest: str
    prompts: str
    procedure: Procedure | JuryProcedure


class MadeFrom(StrEnum):
    """The policy that a judge was made from: the former one, the present one, or another version."""

    FORMER = "former"
    PRESENT = "present"
    ANOTHER = "another"


class TouchedJudge(FrozenModel):
    """What the changes do to one judge.

    Attributes:
        name: The judge.
        version: Version of its policy.
        made_from: Which of the two policies that is.
        reads: Places of the changes whose former text stands in its prompts.
        lacks: New clauses, which it neither reads nor asks about.
        decides: Places of the changes that it decides or cites without.
    """

    name: str
    version: str
    made_from: MadeFrom
    reads: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    decides: tuple[str, ...] = ()

    @property
    def is_touched(self) -> bool:
        return bool(self.reads or self.lacks or self.decides)


def touched_judge(judge: JudgeInUse, changes: Sequence[Changed], old: Policy, new: Policy) -> TouchedJudge:
    """What the changes do to a judge of the same domain.

    Args:
        judge: The judge.
        changes: From one policy to the other.
        old: The former policy.
        new: The present one.

    Returns:
        The places of the changes that it reads or decides by; none for a judge made from the present policy. A direct
        question does not follow the routing, so rules touch checklists only.
    """
    made_from = {old.digest: MadeFrom.FORMER, new.digest: MadeFrom.PRESENT}.get(judge.policy_digest, MadeFrom.ANOTHER)
    facts = {"name": judge.name, "version": judge.policy_version, "made_from": made_from}
    if made_from is MadeFrom.PRESENT:
        return TouchedJudge.model_validate(facts)
    reads = [c.where for c in changes if any(text in judge.prompts for text in c.before)]
    own = {clause.id for clause in judge.procedure.clauses}
    lacks = [c for change in changes for c in change.clauses if c in new.by_id and c not in own]
    decides = [c.where for c in changes if any(_decides_by(procedure, c, new) for procedure in judge.procedure.single)]
    found = {"reads": reads, "lacks": lacks, "decides": decides}
    return TouchedJudge.model_validate(facts | {name: tuple(dict.fromkeys(places)) for name, places in found.items()})


def _decides_by(procedure: Procedure, change: Changed, new: Policy) -> bool:
    own = {clause.id: clause for clause in procedure.clauses}
    if any(clause in own and clause not in new.by_id for clause in change.clauses):
        return True
    pairs = [(own[clause], new.by_id[clause]) for clause in change.clauses if clause in own]
    if change.weight is Weight.RECORD:
        return any((mine.severity, mine.action) != (now.severity, now.action) for mine, now in pairs)
    if change.weight is not Weight.ROUTING or procedure.shape != "checklist":
        return False
    if change.clauses:
        return any(mine.exceptions != now.exceptions for mine, now in pairs)
    return procedure.routing != new.routing or procedure.precedence != new.precedence
