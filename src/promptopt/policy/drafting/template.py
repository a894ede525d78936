"""Lays out a document as a policy for its author to finish; no model is asked."""

from __future__ import annotations

import re

from promptopt.errors import PolicyError
from promptopt.policy.drafting.document import Document
from promptopt.policy.drafting.draft import ClauseDraft, PolicyDraft
from promptopt.policy.model import DOMAIN_NAME

_TITLE_NUMBER = re.compile(r"^(?:§|section|rule|clause|article)?\s*\d+(?:\.\d+)*[.):]?\s+", re.IGNORECASE)
_MOST_LETTERS = 4


def lay_out(document: Document, domain: str, language: str = "en") -> PolicyDraft:
    """One clause for each section, with the section's text as its definition.

    Args:
        document: The document.
        domain: Name of the risk domain.
        language: ISO 639-1 code of the document's language.

    Returns:
        The draft; ids begin with the initials of the domain (``fake_reviews``: FR1, FR2, ...).

    Raises:
        PolicyError: The domain is no name of a domain.
    """
    check_domain(domain)
    letters = _initials(domain)
    return PolicyDraft(
        domain=domain,
        title=document.title or domain.replace("_", " ").capitalize(),
        language=language,
        document=document.name,
        purpose=document.preamble,
        clauses=tuple(
            ClauseDraft(
                id=f"{letters}{number}",
                title=_TITLE_NUMBER.sub("", section.heading) or section.heading or f"Section {number}",
                source=" > ".join((*section.path, section.heading)) + f" (line {section.line})",
                definition=section.text,
            )
            for number, section in enumerate(document.sections, start=1)
        ),
    )


def check_domain(domain: str) -> None:
    """Refuses what is no name of a domain.

    Raises:
        PolicyError: As said.
    """
    if not re.match(DOMAIN_NAME, domain):
        raise PolicyError(
            f"{domain!r} is no name of a domain",
            where="--domain",
            remedy="use 2 to 40 small letters, digits and `_`, a letter first, such as fake_reviews",
        )


def _initials(domain: str) -> str:
    words = [word for word in domain.split("_") if word[:1].isalpha()]
    if len(words) > 1:
        return "".join(word[0] for word in words[:_MOST_LETTERS]).upper()
    return domain[:2].upper() if domain[1].isalpha() else domain[0].upper()
