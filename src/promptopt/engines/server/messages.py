"""What a server says about a request that it refuses, fit to be kept: short, and without the case's text."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

_MOST_CHARACTERS = 160
_WINDOW = 10
_NUMBERS = re.compile(r"\d+(?:\s*,\s*\d+){3,}")
_NOT_WORD = re.compile(r"[\W_]+")


def server_message(content: bytes, private: Sequence[str]) -> str:
    """The message in an error's body.

    Args:
        content: The body.
        private: Texts of which no part may be repeated.

    Returns:
        One line; empty when there is no message in a known place, or it repeats ten characters of a private text (the
        whole text, when it is shorter).
    """
    try:
        message = _find(json.loads(content))
    except (ValueError, RecursionError):
        return ""
    message = " ".join(_NUMBERS.sub("...", message).split())  # token ids are text, too
    if any(_repeats(message, text) for text in private):
        return ""
    return message if len(message) <= _MOST_CHARACTERS else message[:_MOST_CHARACTERS] + "..."


def _find(body: Any) -> str:
    """The message in ``{"error": {"message": ...}}``, ``{"message": ...}`` or ``{"detail": [{"msg": ...}]}``."""
    for key in ("error", "message", "msg", "detail"):
        if isinstance(body, dict) and key in body:
            return _find(body[key])
    if isinstance(body, list):
        return "; ".join(filter(None, (_find(part) for part in body[:3])))
    return body if isinstance(body, str) else ""


def _repeats(message: str, text: str) -> bool:
    """Whether the message repeats a stretch of the text, spacing, case and escapes apart."""
    said = _squeeze(message)
    if not _squeeze(text):  # nothing but signs
        return text.strip() in message
    for form in {_squeeze(form) for form in (text, json.dumps(text), ascii(text), repr(text))}:
        width = min(len(form), _WINDOW)
        if width and any(form[i : i + width] in said for i in range(len(form) - width + 1)):
            return True
    return False


def _squeeze(text: str) -> str:
    return _NOT_WORD.sub("", text).casefold()
