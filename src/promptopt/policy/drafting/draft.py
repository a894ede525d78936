"""A policy that is not finished: what the author still has to decide is None or empty."""

from __future__ import annotations

from promptopt.core.model import FrozenModel
from promptopt.policy.model import Action


class ClauseDraft(FrozenModel):
    """A clause as far as it is known.

    Attributes:
        id: Its id.
        title: Its title.
        source: Where it comes from, for a comment.
        definition: What it covers; empty where the document does not say.
        severity: None where the author has to decide.
        question: Empty where the author has to decide.
        includes: Empty where the author has to decide.
        excludes: Empty where the author has to decide.
        action: None where the author has to decide.
        drafted: Names of the parts that a language model wrote.
    """

    id: str
    title: str
    source: str
    definition: str = ""
    severity: int | None = None
    question: str = ""
    includes: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    action: Action | None = None
    drafted: tuple[str, ...] = ()


class PolicyDraft(FrozenModel):
    """A policy as far as it is known.

    Attributes:
        domain: Its domain.
        title: Its title.
        language: Language that it is written in.
        document: Name of the document.
        purpose: Empty where the author has to decide.
        clauses: At least one.
        author: The language model that drafted parts; empty where none did.
    """

    domain: str
    title: str
    language: str
    document: str
    purpose: str
    clauses: tuple[ClauseDraft, ...]
    author: str = ""

    @property
    def drafted(self) -> int:
        """Parts that a language model wrote."""
        return sum(len(clause.drafted) for clause in self.clauses)
