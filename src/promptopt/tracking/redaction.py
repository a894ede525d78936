"""Finds and removes the texts of golden cases in what is about to be written.

Prompts quote a demonstration in many ways (JSON, HTML, indented, wrapped), so texts are compared by their letters and
digits alone: escapes are decoded, case is folded, everything else is dropped. The text to search is read once, whatever
the number of cases: the first twelve letters at each position are looked up in an index.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence

from promptopt.core.prompt import LoweredPrompt, PromptSegment

MIN_LETTERS = 12

_ESCAPE = re.compile(r"\\+u[0-9a-f]{4}|\\+[nrtbf]|&(?:amp;)*#?\w{1,31};", re.IGNORECASE)
_UNIT = re.compile(_ESCAPE.pattern + "|.", re.DOTALL | re.IGNORECASE)
_NOT_LETTER = re.compile(r"[\W_]+")


def _decode(unit: str) -> str:
    if unit.startswith("\\"):
        code = unit.lstrip("\\")
        return chr(int(code[1:], 16)) if code[0] in "uU" else " "
    return html.unescape(re.sub("&amp;", "&", unit, flags=re.IGNORECASE))


def _letters(text: str) -> str:
    decoded = _ESCAPE.sub(lambda match: _decode(match[0]), text)
    return _NOT_LETTER.sub("", decoded.casefold())


def _letters_with_places(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The same letters, and for each the stretch of ``text`` that it comes from."""
    letters: list[str] = []
    places: list[tuple[int, int]] = []
    for match in _UNIT.finditer(text):
        unit = match[0]
        found = _NOT_LETTER.sub("", (_decode(unit) if len(unit) > 1 else unit).casefold())
        letters.extend(found)
        places.extend([match.span()] * len(found))
    return "".join(letters), places


class CaseTexts:
    """The texts that must not be written, by case id.

    Texts of fewer than twelve letters and digits occur by chance: :meth:`find` ignores them, and :meth:`redact`
    replaces them only where they stand apart from other words.

    Args:
        texts: Case id to text.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._index: dict[str, list[tuple[str, str]]] = {}
        self._short: list[tuple[re.Pattern[str], str]] = []
        for case_id, text in sorted(texts.items(), key=lambda item: (-len(item[1]), item[0])):
            letters = _letters(text)
            if len(letters) >= MIN_LETTERS:
                self._index.setdefault(letters[:MIN_LETTERS], []).append((letters, case_id))
            elif text.strip():
                self._short.append((re.compile(rf"(?<!\w){re.escape(text.strip())}(?!\w)"), case_id))
        for candidates in self._index.values():
            candidates.sort(key=lambda item: -len(item[0]))

    def find(self, text: str) -> str | None:
        """The id of the first case whose text occurs in ``text``, or None."""
        if not self._index:
            return None
        return next((case_id for _, _, case_id in self._occurrences(_letters(text))), None)

    def redact(self, text: str) -> str:
        """Replaces every occurrence of a case's text by ``[case <id>]``, the longest text first."""
        letters, places = _letters_with_places(text)
        parts: list[str] = []
        end = 0
        for start, stop, case_id in self._occurrences(letters):
            parts += [text[end : places[start][0]], f"[case {case_id}]"]
            end = places[stop - 1][1]
        redacted = "".join([*parts, text[end:]])
        for pattern, case_id in self._short:
            redacted = pattern.sub(f"[case {case_id}]".replace("\\", r"\\"), redacted)
        return redacted

    def redact_prompt(self, prompt: LoweredPrompt) -> LoweredPrompt:
        """The prompt with case texts replaced; neighbouring fixed stretches are joined, so none hides in a seam."""
        rationale = prompt.rationale
        if rationale is not None:
            rationale = rationale.model_copy(update={"segments": self._redact_segments(rationale.segments)})
        return prompt.model_copy(update={"segments": self._redact_segments(prompt.segments), "rationale": rationale})

    def _redact_segments(self, segments: Sequence[PromptSegment]) -> tuple[PromptSegment, ...]:
        merged: list[PromptSegment] = []
        for segment in segments:
            last = merged[-1] if merged else None
            if last and last.slot is None and segment.slot is None and last.role == segment.role:
                merged[-1] = PromptSegment(role=last.role, text=last.text + segment.text)
            else:
                merged.append(segment)
        return tuple(s if s.slot else PromptSegment(role=s.role, text=self.redact(s.text)) for s in merged)

    def _occurrences(self, letters: str) -> Iterator[tuple[int, int, str]]:
        """Start, stop and case id of the longest match at each place, left to right, without overlap."""
        index = self._index
        free_from = 0
        for start in range(len(letters) - MIN_LETTERS + 1):
            candidates = index.get(letters[start : start + MIN_LETTERS])
            if candidates is None or start < free_from:
                continue
            for text, case_id in candidates:
                if letters.startswith(text, start):
                    yield start, start + len(text), case_id
                    free_from = start + len(text)
                    break


def redact_texts(text: str, case_texts: Mapping[str, str]) -> str:
    """Replaces every occurrence of a case's text by ``[case <id>]``; see :meth:`CaseTexts.redact`."""
    return CaseTexts(case_texts).redact(text)
