"""A change of a policy, and how much it weighs."""

from __future__ import annotations

from enum import StrEnum

from promptopt.core.model import FrozenModel


class Weight(StrEnum):
    """What a change does to labels that were given before it.

    ``meaning``: a clause covers something else, so texts labelled under it have to be read again. ``routing``: which
    texts, the truth table of the rules says. ``record``: severity or action follow from the clause cited and change
    without reading. ``wording``: the same is said in other words, or explained in another way.
    """

    MEANING = "meaning"
    ROUTING = "routing"
    RECORD = "record"
    WORDING = "wording"


class Changed(FrozenModel):
    """One change.

    Attributes:
        where: A clause or rule id, or a part of the policy.
        what: What is different, with the former words.
        weight: What it does to earlier labels.
        clauses: The clauses that it is about; empty where it is about none in particular.
        before: Former texts that a judge may have read.
    """

    where: str
    what: str
    weight: Weight
    clauses: tuple[str, ...] = ()
    before: tuple[str, ...] = ()


class ReusedId(FrozenModel):
    """A clause id that names another clause than before.

    Attributes:
        clause: The id.
        before: The former title.
        now: The present title.
        likeness: The larger of the Jaccard similarities of titles and of definitions, from 0 to 1.
        remedy: What to do about it.
    """

    clause: str
    before: str
    now: str
    likeness: float
    remedy: str
