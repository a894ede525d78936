"""Whether other words mean another thing. No model is asked: what cannot be told counts as another meaning."""

from __future__ import annotations

import re
from typing import Protocol

from promptopt.policy.linting.text import content_words, likeness, stem

OTHER_CLAUSE = 0.2
_WORD_OR_NUMBER = re.compile(r"\d[\d.,:/]*|[^\W\d_]+(?:['’-][^\W\d_]+)*")
_ARTICLES = frozenset({"a", "an", "the"})


class Titled(Protocol):
    """What a clause is recognised by."""

    @property
    def title(self) -> str: ...
    @property
    def definition(self) -> str: ...


def same_words(before: str, now: str) -> bool:
    """Whether two texts have the same words in the same order.

    Articles, endings (*threat*, *threats*), capitals and punctuation do not count; numbers, negations and the order of
    words do. A synonym is another word: whether it means the same is for people to say.
    """
    return _said(before) == _said(now)


def clause_likeness(before: Titled, now: Titled) -> float:
    """How much two clauses have in common: the larger similarity of their titles and of their definitions.

    Returns:
        Jaccard similarity of the stems of their words, function words left out; from 0 to 1. Below
        :data:`OTHER_CLAUSE` the two are taken for different clauses.
    """
    pairs = ((before.title, now.title), (before.definition, now.definition))
    return max(1.0 if same_words(a, b) else likeness(content_words(a), content_words(b)) for a, b in pairs)


def _said(text: str) -> list[str]:
    found = (word.rstrip(".,") for word in _WORD_OR_NUMBER.findall(text.lower()))
    return [word if word[0].isdigit() else stem(word) for word in found if word not in _ARTICLES]
