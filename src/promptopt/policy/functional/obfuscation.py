"""Ways of writing a text so that people still read it and filters may not."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

_WORD = re.compile(r"[^\W\d_]{4,}")
_LEET = str.maketrans("aeiostAEIOST", "4310574310$7")
_HOMOGLYPHS = str.maketrans("aceopxyiACEHKMOPTX", "асеорхуіАСЕНКМОРТХ")
_EMOJI = ("😂", "🔥", "👀", "🙃", "💯")
_FRAMES = ("Oye, te lo digo claro: {text} Así están las cosas.", "Écoute bien, mon ami : {text} C'est tout.")

Obfuscate = Callable[[str, random.Random], str]


def _some_words(change: Callable[[str], str]) -> Obfuscate:
    """Changes every second word of four letters or more, beginning by chance with the first or the second."""

    def run(text: str, chance: random.Random) -> str:
        words = list(_WORD.finditer(text))
        chosen = words[chance.randrange(2) if len(words) > 1 else 0 :: 2]
        for word in reversed(chosen):
            text = text[: word.start()] + change(word.group()) + text[word.end() :]
        return text

    return run


def _emoji(text: str, chance: random.Random) -> str:
    words = text.split(" ")
    for place in sorted(chance.sample(range(1, len(words) + 1), min(3, len(words))), reverse=True):
        words.insert(place, chance.choice(_EMOJI))
    return " ".join(words)


def _code_switching(text: str, chance: random.Random) -> str:
    return chance.choice(_FRAMES).replace("{text}", text)


OBFUSCATIONS: dict[str, Obfuscate] = {
    "leetspeak": _some_words(lambda word: word.translate(_LEET)),
    "spacing": _some_words(" ".join),
    "homoglyphs": _some_words(lambda word: word.translate(_HOMOGLYPHS)),
    "emoji": _emoji,
    "code_switching": _code_switching,
}
"""Name to a function of text and chance; the meaning, and with it the verdict, stays what it was."""
