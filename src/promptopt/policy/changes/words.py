"""The differences in sentences, the same in a terminal and in a report."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptopt.policy.changes.cases import ROUTING, CaseEffect, Reason, Touched
from promptopt.policy.changes.diff import PolicyDiff
from promptopt.policy.changes.judges import MadeFrom, TouchedJudge
from promptopt.policy.changes.model import Changed, ReusedId, Weight
from promptopt.policy.changes.routing import Combination, Recited, RoutingEffect, Transition
from promptopt.policy.model import CLAUSE_ID, Outcome

_IS = {
    Outcome.VIOLATION: "a violation",
    Outcome.ALLOWED: "allowed",
    Outcome.ESCALATE: "an escalated violation",
    Outcome.ABSTAIN: "left to people",
}
_WEIGHTS = {
    Weight.MEANING: "of meaning",
    Weight.ROUTING: "of routing",
    Weight.RECORD: "of severity or action",
    Weight.WORDING: "of wording only",
}
_MOST_CASES = 8


def headline(diff: PolicyDiff) -> str:
    """``Violence 1.0.0 to 1.1.0: 3 changes (1 of meaning, 2 of routing)``."""
    counted = [f"{len(found)} {said}" for weight, said in _WEIGHTS.items() if (found := diff.of_weight(weight))]
    changes = _many(len(diff.changes), "change")
    what = f"{changes} ({', '.join(counted)})" if counted else "no difference in what they say"
    return f"{diff.title}, {diff.old.version} to {diff.new.version}: {what}"


def reused(found: ReusedId) -> str:
    """An id that names another clause."""
    return (
        f"{found.clause} was “{found.before}” and is “{found.now}”: titles and definitions share "
        f"{found.likeness:.0%} of their words at most; {found.remedy}"
    )


def routing(effect: RoutingEffect | None) -> Iterator[str]:
    """What the routing does otherwise, one sentence each."""
    if effect is None:
        yield "the routing cites too many clauses to compare every combination of them"
        return
    if not effect.changed and not effect.recited.combinations:
        yield "no combination of clauses comes to another outcome or cites another clause"
        return
    if effect.changed:
        of = f"{effect.combinations:,} combinations of {len(effect.clauses)} clauses"
        comes = "comes" if effect.changed == 1 else "come"
        yield f"{effect.changed:,} of {of} {comes} to another outcome"
    yield from map(_transition, effect.transitions)
    if effect.recited.combinations:
        yield _recited(effect.recited)


def cases(effect: CaseEffect) -> Iterator[str]:
    """What is to be done with labelled cases, one sentence each; the first says how many have to be read again."""
    splits = ", ".join(f"{name} {number}" for name, number in effect.reannotate_by_split.items())
    where = f" ({splits})" if splits else ""
    only = len(effect.citation_only)
    cited = f", {only:,} of them only for the clause that they cite" if only else ""
    yield f"to read again: {len(effect.reannotate):,} of {_many(effect.cases, 'case')} of {effect.name}{where}{cited}"
    for touched in effect.touched:
        if touched.reason is not Reason.RECORD:
            yield f"  {_touched(touched)}"
    if effect.update:
        many = _many(len(effect.update), "case")
        yield f"to set without reading: severity or action of {many}, from the clause cited"
    if effect.allowed_unread:
        cover = f"the {effect.allowed_unread:,} other allowed cases"
        yield f"to look at in a sample: a clause that now covers more may cover some of {cover}"
    if effect.unknown:
        yield f"not counted: {_many(effect.unknown, 'case')} citing a clause that neither policy has"


def judge(found: TouchedJudge) -> str:
    """What is the matter with a judge."""
    if found.made_from is MadeFrom.PRESENT:
        return "made from this version"
    said = []
    if found.reads:
        said.append(f"reads the former {', '.join(found.reads)}")
    if found.lacks:
        said.append(f"knows no {', '.join(found.lacks)}")
    if found.decides:
        said.append(f"decides by the former {', '.join(found.decides)}")
    return "; ".join(said) or "neither reads nor decides by anything that changed"


def cases_at(diff: PolicyDiff, change: Changed) -> int | None:
    """How many cases a change touches; None where none were given."""
    if diff.cases is None:
        return None
    if change.weight is Weight.WORDING:
        return 0
    by_rules = change.weight is Weight.ROUTING and change.where not in (*diff.added, *diff.removed)
    where = ROUTING if by_rules else change.where
    record = change.weight is Weight.RECORD
    found = (t for t in diff.cases.touched if t.where == where and (t.reason is Reason.RECORD) == record)
    return len({i for touched in found for i in touched.cases})


def judges_at(diff: PolicyDiff, change: Changed) -> int:
    """How many judges a change touches."""
    return sum(change.where in (*found.reads, *found.lacks, *found.decides) for found in diff.judges)


def _transition(transition: Transition) -> str:
    was, now = _IS[transition.before], _IS[transition.now]
    shown = [f"{_applies(c)} (by {c.rule_before}, now by {c.rule_now})" for c in transition.smallest]
    if transition.combinations == 1:
        return f"  1 was {was} and is {now}: {shown[0]}"
    return f"  {transition.combinations:,} were {was} and are {now}, the smallest: {'; '.join(shown)}"


def _recited(found: Recited) -> str:
    assert found.smallest is not None  # noqa: S101 - there are combinations, so there is a smallest one
    other = f"{_many(found.combinations, 'combination')} of the same label"
    cites = "cites" if found.combinations == 1 else "cite"
    was, now = found.before or "no clause", found.now or "no clause"
    return f"{other} {cites} another clause: {_applies(found.smallest)}: was {was}, is {now}"


def _applies(combination: Combination) -> str:
    if not combination.clauses:
        return "no clause"
    *first, last = combination.clauses
    return f"{', '.join(first)} and {last}" if first else f"only {last}"


def _touched(touched: Touched) -> str:
    many = len(touched.cases)
    one = many == 1
    said = {
        Reason.CITES: f"{'cites' if one else 'cite'} {_moved(touched.where)}",
        Reason.PAIR: f"{'is' if one else 'are'} the other half of a contrast pair of {touched.where}",
        Reason.OUTCOME: "may get another label",
        Reason.CITATION: "may cite another clause",
    }[touched.reason]
    if touched.reason in (Reason.OUTCOME, Reason.CITATION):
        said += " by the routing" if touched.where == ROUTING else f" because of {touched.where}"
    shown = ", ".join(touched.cases[:_MOST_CASES]) + (", ..." if many > _MOST_CASES else "")
    return f"{many:,} {said} ({shown})"


def _moved(where: str) -> str:
    if re.match(CLAUSE_ID, where):
        return f"{where}, which means something else"
    return "a clause with an example on another side" if where == "Examples" else f"a clause that uses “{where}”"


def _many(number: int, one: str) -> str:
    return f"{number:,} {one}" if number == 1 else f"{number:,} {one}s"
