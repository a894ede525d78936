"""A lowered prompt as a chat template of double-braced variables, and back.

MLflow reads ``{{name}}`` in a registered prompt as a variable and ``{% ... %}`` as Jinja2 code. A slot becomes
``{{slot}}``. In fixed text, each brace that could open a variable or code gets a word joiner (U+2060, invisible) behind
it: ``{{x}}`` is stored as ``{<U+2060>{x}}``. A brace that has word joiners there already gets one more, so the way back
is exact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from promptopt.core.prompt import LoweredPrompt
from promptopt.tracking.base import TrackingError

JOINER = "\u2060"

_OPENING = re.compile(rf"\{{({JOINER}*)(?=[{{%#])")
_ESCAPED = re.compile(rf"\{{{JOINER}({JOINER}*)(?=[{{%#])")
_VARIABLE = re.compile(r"\{\{([A-Za-z_][A-Za-z0-9_]*)\}\}")
_PROMPT_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def escape_template(text: str) -> str:
    """Fixed text in which nothing opens a variable or code."""
    return _OPENING.sub(rf"{{{JOINER}\1", text)


def unescape_template(text: str) -> str:
    """The inverse of :func:`escape_template`."""
    return _ESCAPED.sub(r"{\1", text)


def chat_template(prompt: LoweredPrompt) -> list[dict[str, str]]:
    """The prompt's chat messages with escaped fixed text and a ``{{slot}}`` for every slot.

    Args:
        prompt: The prompt; it may be redacted.

    Returns:
        Messages with the keys ``role`` and ``content``.

    Raises:
        TrackingError: A slot's name is not a variable name.
    """
    messages: list[dict[str, str]] = []
    fixed = ""
    for segment in prompt.segments:
        if not messages or messages[-1]["role"] != segment.role:
            _close(messages, fixed)
            fixed = ""
            messages.append({"role": segment.role, "content": ""})
        if segment.slot is None:
            fixed += segment.text
            continue
        variable = f"{{{{{segment.slot}}}}}"
        if not _VARIABLE.fullmatch(variable):
            raise TrackingError(f"slot {segment.slot!r} of question {prompt.question!r} is not a variable name")
        _close(messages, fixed)
        fixed = ""
        messages[-1]["content"] += variable
    _close(messages, fixed)
    return messages


def _close(messages: list[dict[str, str]], fixed: str) -> None:
    if messages:
        messages[-1]["content"] += escape_template(fixed)


def fill_template(messages: Sequence[Mapping[str, str]], values: Mapping[str, str]) -> list[dict[str, str]]:
    """The chat messages that a template stands for.

    Args:
        messages: What :func:`chat_template` returned.
        values: Slot name to the text that goes there; inserted as it is.

    Returns:
        Messages with the keys ``role`` and ``content``.

    Raises:
        KeyError: A slot has no value.
    """
    filled = []
    for message in messages:
        # Splitting at a pattern with one group gives fixed text and slot names in turn.
        pieces = _VARIABLE.split(message["content"])
        content = "".join(values[p] if i % 2 else unescape_template(p) for i, p in enumerate(pieces))
        filled.append({"role": message["role"], "content": content})
    return filled


def prompt_name(*parts: str) -> str:
    """A name that prompt registries take: the parts joined by dots, other characters replaced by hyphens."""
    return ".".join(re.sub(r"[^A-Za-z0-9_.-]+", "-", part) for part in parts)


def check_prompt_name(name: str) -> None:
    """Raises TrackingError for a name that a prompt registry would refuse."""
    if not _PROMPT_NAME.fullmatch(name):
        raise TrackingError(f"prompt name {name!r} has characters other than letters, digits and _ . -")
