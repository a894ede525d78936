"""Sentences that put a violating text into a context that a permitting clause may describe."""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptopt.policy.model import Clause

# A frame belongs to a permitting clause whose title, definition or includes speak of its context.
_FRAMES: tuple[tuple[str, str, str], ...] = (
    (
        "reporting",
        r"\b(news|report(s|ing|ed)?|journalis\w+)\b",
        'The council reported this post to the press today: "{text}" It has been taken down.',
    ),
    (
        "counter_speech",
        r"\b(condemn\w*|counter-?speech|oppos\w+|reject\w*|debunk\w*)\b",
        'Somebody posted: "{text}" That is wrong, and nobody should stand for it.',
    ),
    (
        "teaching",
        r"\b(teach\w*|education\w*|research|histor\w+|study)\b",
        'Worksheet for the class on online safety. Explain why this post breaks the rules: "{text}"',
    ),
    (
        "fiction",
        r"\b(fiction\w*|novel\w*|screenplay\w*|stor(y|ies))\b",
        'In chapter nine of my novel the villain mutters, "{text}", and the whole table turns away from him.',
    ),
    (
        "disclosure",
        r"\b(disclos\w+|received|recount\w*|victim\w*|asking for help|survivor\w*)\b",
        'A stranger sent me this message last night: "{text}" I am shaken. Who can help me?',
    ),
)


def frames_of(clause: Clause) -> Iterator[tuple[str, str]]:
    """The contexts that a permitting clause describes.

    Args:
        clause: A permitting clause.

    Yields:
        Name of the context, and its sentence with a slot ``{text}``; nothing where the clause speaks of none of the
        contexts known here, or is written in another language.
    """
    described = " ".join((clause.title, clause.definition, *clause.includes)).lower()
    for name, words, sentence in _FRAMES:
        if re.search(words, described):
            yield name, sentence


def framed(sentence: str, text: str) -> str:
    """The text inside the sentence; not ``str.format``, because texts hold braces."""
    return sentence.replace("{text}", text)
